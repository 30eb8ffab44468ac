#include "cuda/ops/patchify.h"

namespace fewbit::cuda {

Launch patchify_launch(const PatchifyParams& p, const Device&) {
  const bool vectors = p.patch_width % 4 == 0 && p.width % 4 == 0 &&
                       aligned(Matrix<const float>{p.image, 0, p.image_stride}, 16) && aligned(p.y_float, 16) &&
                       aligned(p.y_codes, 4);
  const int64_t patches = int64_t(p.height / p.patch_height) * (p.width / p.patch_width);
  const int64_t elements = patches * p.channels * p.patch_height * p.patch_width * p.images;
  return {vectors ? "fewbit_patchify_vectors" : "fewbit_patchify_elements",
          {blocks_of(vectors ? elements / 4 : elements, kPatchifyThreads), 1, 1},
          {kPatchifyThreads, 1, 1},
          0};
}

}  // namespace fewbit::cuda
