// Patches of images as rows of floats or of codes: a thread has one vector of columns of a patch. Threads follow the image, so
// that reads are whole lines of it; a write is as wide as a line of a patch.
#include "cuda/kernels/numeric.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/patchify.h"

namespace fewbit::cuda {
namespace {

template <int vector>
__device__ void patchify(const PatchifyParams& p) {
  const int across = p.width / p.patch_width, down = p.height / p.patch_height;
  const int line = across * p.patch_width / vector;  // vectors of a line of patches
  long long thread = static_cast<long long>(blockIdx.x) * kPatchifyThreads + threadIdx.x;
  const int x = int(thread % line) * vector;
  thread /= line;
  const int y = int(thread % (down * p.patch_height));
  thread /= down * p.patch_height;
  const int channel = int(thread % p.channels), image = int(thread / p.channels);
  if (image >= p.images) return;
  float value[vector];
  load<vector>(p.image + image * p.image_stride + (static_cast<long long>(channel) * p.height + y) * p.width + x, value);
  const int patch = y / p.patch_height * across + x / p.patch_width;
  const int column = (channel * p.patch_height + y % p.patch_height) * p.patch_width + x % p.patch_width;
  store_target<vector>(p.y_float.data ? p.y_float.at(image, patch) : nullptr,
                       p.y_codes.data ? p.y_codes.at(image, patch) : nullptr, p.encode, column, value);
}

}  // namespace
}  // namespace fewbit::cuda

using fewbit::cuda::PatchifyParams;

extern "C" __global__ void __launch_bounds__(256) fewbit_patchify_vectors(const PatchifyParams p) {
  fewbit::cuda::patchify<4>(p);
}
extern "C" __global__ void __launch_bounds__(256) fewbit_patchify_elements(const PatchifyParams p) {
  fewbit::cuda::patchify<1>(p);
}
