// LayerNorm of codes, with factors that are powers of two (O-2SF). A warp has a row. The statistics are sums of integers, exact
// in any order; the row waits in shared memory between its two readings.
#include "cuda/kernels/numeric.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/layernorm.h"

namespace fewbit::cuda {
namespace {

template <class T>
__device__ T warp_sum(T value) {
  for (int half = 16; half; half /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, half);
  return value;
}

// Z of the contract: what bytes mean, in steps.
template <int vector>
__device__ void decode(const LayerNormCodesParams& p, const uint8_t* row, int column, int* z) {
  uint8_t x[vector], shift[vector];
  load<vector>(row + column, x);
  if (p.shift) load<vector>(p.shift + column, shift);
#pragma unroll
  for (int k = 0; k < vector; ++k) z[k] = (x[k] - p.offset) * (1 << (p.shift ? shift[k] : 0));
}

template <int vector, bool cached>
__device__ void layernorm_codes(const LayerNormCodesParams& p) {
  extern __shared__ __align__(16) uint8_t cache[];
  const int lane = threadIdx.x % 32, slot = threadIdx.x / 32;
  const int r = blockIdx.x * kLayerNormCodesRows + slot;
  if (r >= p.rows) return;  // a whole warp
  const uint8_t* row = row_of(p.x, r, p.image_rows);
  uint8_t* mine = cache + slot * layernorm_codes_pitch(p.width);
  int sum = 0;            // |sum| <= 2^30
  long long squares = 0;  // <= 2^44
#pragma unroll 2
  for (int i = lane * vector; i < p.width; i += 32 * vector) {
    int z[vector];
    if (cached) {
      uint8_t x[vector];
      load<vector>(row + i, x);
      store<vector>(mine + i, x);
      decode<vector>(p, mine, i, z);
    } else {
      decode<vector>(p, row, i, z);
    }
#pragma unroll
    for (int k = 0; k < vector; ++k) sum += z[k], squares += static_cast<long long>(z[k]) * z[k];
  }
  sum = warp_sum(sum);
  squares = warp_sum(squares);
  const float v = __ll2float_rn(p.width * squares - static_cast<long long>(sum) * sum) + p.eps;
  const float scale = v > 0.0f ? 1.0f / __fsqrt_rn(v) : 0.0f;
  const float columns = float(p.width), minus_sum = -float(sum);
  float* y_float = p.y_float.data ? row_of(p.y_float, r, p.image_rows) : nullptr;
  uint8_t* y_codes = p.y_codes.data ? row_of(p.y_codes, r, p.image_rows) : nullptr;
#pragma unroll 1
  for (int i = lane * vector; i < p.width; i += 32 * vector) {
    int z[vector];
    float y[vector], gamma[vector], beta[vector];
    decode<vector>(p, cached ? mine : row, i, z);  // what this thread wrote there
    load<vector>(p.gamma + i, gamma);
    load<vector>(p.beta + i, beta);
#pragma unroll
    for (int k = 0; k < vector; ++k) y[k] = __fmaf_rn(__fmaf_rn(float(z[k]), columns, minus_sum) * scale, gamma[k], beta[k]);
    store_target<vector>(y_float, y_codes, p.encode, i, y);
  }
}

}  // namespace
}  // namespace fewbit::cuda

using fewbit::cuda::LayerNormCodesParams;

extern "C" __global__ void __launch_bounds__(128) fewbit_layernorm_codes_vectors(const LayerNormCodesParams p) {
  fewbit::cuda::layernorm_codes<4, true>(p);
}
extern "C" __global__ void __launch_bounds__(128) fewbit_layernorm_codes_elements(const LayerNormCodesParams p) {
  fewbit::cuda::layernorm_codes<1, true>(p);
}
extern "C" __global__ void __launch_bounds__(128) fewbit_layernorm_codes_long(const LayerNormCodesParams p) {
  fewbit::cuda::layernorm_codes<1, false>(p);
}
