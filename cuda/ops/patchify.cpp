#include "cuda/ops/patchify.h"

namespace fewbit::cuda {

Launch patchify_launch(const PatchifyParams& p, const Device&) {
  const bool vectors = p.patch_width % 4 == 0 && p.width % 4 == 0 &&
                       aligned(Matrix<const float>{p.image, 0, p.image_stride}, 16) && aligned(p.y_float, 16) &&
                       aligned(p.y_codes, 4);
  const int bytes = p.y_codes.data ? 1 : 4, across = p.width / p.patch_width;
  const int64_t shared =
      int64_t(across) * patchify_pitch(p.channels * p.patch_height * p.patch_width, p.patch_width, bytes) * bytes;
  const bool fits = shared <= kMostShared;
  const int64_t blocks = int64_t(p.height / p.patch_height) * p.images;
  return {!fits     ? "fewbit_patchify_long"
          : vectors ? "fewbit_patchify_vectors"
                    : "fewbit_patchify_elements",
          {static_cast<unsigned>(blocks), 1, 1},
          {kPatchifyThreads, 1, 1},
          fits ? static_cast<unsigned>(shared) : 0};
}

}  // namespace fewbit::cuda
