// LayerNorm of floats. Half a warp has a row: thread j is lane j of the summation tree of the contract. The row waits in shared
// memory between its three readings, so that global memory is read once; what is not summed is taken four columns at a time.
#include "cuda/kernels/numeric.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/layernorm.h"

namespace fewbit::cuda {
namespace {

// cached: rows fit shared memory.
template <int vector, bool cached>
__device__ void layernorm(const LayerNormParams& p) {
  extern __shared__ __align__(16) float cache[];
  const int lane = threadIdx.x % 16, slot = threadIdx.x / 16;
  const int r = blockIdx.x * kLayerNormRows + slot;
  // Threads without a row stay: shuffles want whole warps.
  const bool active = r < p.rows;
  const int width = active ? p.width : 0;
  const float* row = active ? row_of(p.x, r, p.image_rows) : nullptr;
  if (cached) {
    float* mine = cache + slot * layernorm_pitch(p.width);
#pragma unroll 2
    for (int i = lane * vector; i < width; i += 16 * vector) {
      float x[vector];
      load<vector>(row + i, x);
      store<vector>(mine + i, x);
    }
    __syncwarp();
    row = mine;
  }
  float sum = 0.0f, squares = 0.0f;
#pragma unroll 4
  for (int i = lane; i < width; i += 16) sum = sum + row[i];
  const float mean = tree16(sum) / float(p.width);
#pragma unroll 4
  for (int i = lane; i < width; i += 16) {
    const float d = row[i] - mean;
    squares = __fmaf_rn(d, d, squares);
  }
  const float scale = 1.0f / __fsqrt_rn(tree16(squares) / float(p.width) + p.eps);
  if (!active) return;
  float* y_float = p.y_float.data ? row_of(p.y_float, r, p.image_rows) : nullptr;
  uint8_t* y_codes = p.y_codes.data ? row_of(p.y_codes, r, p.image_rows) : nullptr;
#pragma unroll 1
  for (int i = lane * vector; i < width; i += 16 * vector) {
    float y[vector], gamma[vector], beta[vector];
    load<vector>(row + i, y);
    load<vector>(p.gamma + i, gamma);
    load<vector>(p.beta + i, beta);
#pragma unroll
    for (int k = 0; k < vector; ++k) y[k] = __fmaf_rn((y[k] - mean) * scale, gamma[k], beta[k]);
    store_target<vector>(y_float, y_codes, p.encode, i, y);
  }
}

}  // namespace
}  // namespace fewbit::cuda

using fewbit::cuda::LayerNormParams;

extern "C" __global__ void __launch_bounds__(128) fewbit_layernorm_vectors(const LayerNormParams p) {
  fewbit::cuda::layernorm<4, true>(p);
}
extern "C" __global__ void __launch_bounds__(128) fewbit_layernorm_elements(const LayerNormParams p) {
  fewbit::cuda::layernorm<1, true>(p);
}
extern "C" __global__ void __launch_bounds__(128) fewbit_layernorm_long(const LayerNormParams p) {
  fewbit::cuda::layernorm<1, false>(p);
}
