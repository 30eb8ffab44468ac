// Patches of images as rows of floats or of codes. A block has a row of patches: it reads whole lines of the image, and writes
// whole rows of y; values change places in shared memory.
#include "cuda/kernels/numeric.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/patchify.h"

namespace fewbit::cuda {
namespace {

// T: what y holds. vector: elements that are read, and written, at a time.
template <class T, int vector>
__device__ void patchify(const PatchifyParams& p, const Matrix<T>& y, T* shared) {
  const int across = p.width / p.patch_width, down = p.height / p.patch_height, line = across * p.patch_width;
  const int image = blockIdx.x / down, first_patch = blockIdx.x % down * across, first_y = blockIdx.x % down * p.patch_height;
  const int columns = p.channels * p.patch_height * p.patch_width, pitch = patchify_pitch(columns, p.patch_width, sizeof(T));
  const float* pixels = p.image + image * p.image_stride;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  // A warp takes whole lines, and whole rows of y: what it reads or writes at once begins with a sector.
#pragma unroll 1
  for (int row = warp; row < p.channels * p.patch_height; row += kPatchifyThreads / 32) {  // of lines: channel after channel
    const int image_row = row / p.patch_height * p.height + first_y + row % p.patch_height;
    const float* from = pixels + static_cast<long long>(image_row) * p.width;
    const int before = vector == 1 ? int(reinterpret_cast<uint64_t>(from) / sizeof(float) % 8) : 0;
#pragma unroll 1
    for (int x = lane * vector - before; x < line; x += 32 * vector) {
      if (x < 0) continue;
      float value[vector];
      load<vector>(from + x, value);
      T* to = shared + x / p.patch_width * pitch + row * p.patch_width + x % p.patch_width;
      if constexpr (sizeof(T) == 1) {
        uint8_t bytes[vector];
#pragma unroll
        for (int k = 0; k < vector; ++k) bytes[k] = encode(p.encode, value[k]);
        store<vector>(to, bytes);
      } else {
        store<vector>(to, value);
      }
    }
  }
  __syncthreads();
#pragma unroll 1
  for (int patch = warp; patch < across; patch += kPatchifyThreads / 32) {
    T* to = y.at(image, first_patch + patch);
#pragma unroll 1
    for (int column = lane * vector; column < columns; column += 32 * vector) {
      T values[vector];
      load<vector>(shared + patch * pitch + column, values);
      store<vector>(to + column, values);
    }
  }
}

template <int vector>
__device__ void patchify(const PatchifyParams& p) {
  extern __shared__ __align__(16) uint8_t shared[];
  if (p.y_codes.data)
    patchify<uint8_t, vector>(p, p.y_codes, shared);
  else
    patchify<float, vector>(p, p.y_float, reinterpret_cast<float*>(shared));
}

// A row of patches that shared memory does not hold.
__device__ void patchify_long(const PatchifyParams& p) {
  const int across = p.width / p.patch_width, down = p.height / p.patch_height;
  const int image = blockIdx.x / down, first_patch = blockIdx.x % down * across;
  const int columns = p.channels * p.patch_height * p.patch_width;
  for (long long i = threadIdx.x; i < static_cast<long long>(across) * columns; i += kPatchifyThreads) {
    const int patch = first_patch + int(i / columns), column = int(i % columns);
    const int x = patch % across * p.patch_width + column % p.patch_width, row = column / p.patch_width;
    const int image_row = row / p.patch_height * p.height + patch / across * p.patch_height + row % p.patch_height;
    const float value = p.image[image * p.image_stride + static_cast<long long>(image_row) * p.width + x];
    store_target<1>(p.y_float.data ? p.y_float.at(image, patch) : nullptr, p.y_codes.data ? p.y_codes.at(image, patch) : nullptr,
                    p.encode, column, &value);
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
extern "C" __global__ void __launch_bounds__(256) fewbit_patchify_long(const PatchifyParams p) { fewbit::cuda::patchify_long(p); }
