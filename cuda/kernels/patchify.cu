// Patches of images as rows of floats or of codes: a warp has a line of the image, so that reads are whole lines of it; a write
// is as wide as a line of a patch.
#include "cuda/kernels/numeric.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/patchify.h"

namespace fewbit::cuda {
namespace {

template <int vector>
__device__ void patchify(const PatchifyParams& p) {
  const int across = p.width / p.patch_width, height = p.height / p.patch_height * p.patch_height;
  const int line = blockIdx.x * blockDim.y + threadIdx.y;
  const int image = line / (height * p.channels), channel = line / height % p.channels, y = line % height;
  if (image >= p.images) return;
  const float* pixels = p.image + image * p.image_stride + (static_cast<long long>(channel) * p.height + y) * p.width;
  const int first_patch = y / p.patch_height * across;
  const int first_column = (channel * p.patch_height + y % p.patch_height) * p.patch_width;
#pragma unroll 1
  for (int x = threadIdx.x * vector; x < across * p.patch_width; x += 32 * vector) {
    const int patch = first_patch + x / p.patch_width, column = first_column + x % p.patch_width;
    float value[vector];
    load<vector>(pixels + x, value);
    store_target<vector>(p.y_float.data ? p.y_float.at(image, patch) : nullptr,
                         p.y_codes.data ? p.y_codes.at(image, patch) : nullptr, p.encode, column, value);
  }
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
