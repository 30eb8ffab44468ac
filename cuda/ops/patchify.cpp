#include "cuda/ops/patchify.h"

namespace fewbit::cuda {
namespace {

// Of a block; each has a line of an image.
constexpr int kWarps = 8;

}  // namespace

Launch patchify_launch(const PatchifyParams& p, const Device&) {
  const bool vectors = p.patch_width % 4 == 0 && p.width % 4 == 0 &&
                       aligned(Matrix<const float>{p.image, 0, p.image_stride}, 16) && aligned(p.y_float, 16) &&
                       aligned(p.y_codes, 4);
  const int64_t lines = int64_t(p.height / p.patch_height * p.patch_height) * p.channels * p.images;
  return {vectors ? "fewbit_patchify_vectors" : "fewbit_patchify_elements", {blocks_of(lines, kWarps), 1, 1}, {32, kWarps, 1}, 0};
}

}  // namespace fewbit::cuda
