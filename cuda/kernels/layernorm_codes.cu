// LayerNorm of codes, with factors that are powers of two (O-2SF). A warp has a row. The statistics are sums of integers, exact
// in any order; the row waits in shared memory between its two readings.
#include "cuda/kernels/layernorm.cuh"

namespace fewbit::cuda {
namespace {

// Z of the contract: what bytes mean, in steps.
template <int vector>
__device__ void decode(const LayerNormCodesParams& p, const uint8_t (&x)[vector], int column, int (&z)[vector]) {
  uint8_t shift[vector];
  if (p.shift) load<vector>(p.shift + column, shift);
#pragma unroll
  for (int k = 0; k < vector; ++k) z[k] = (x[k] - p.offset) * (1 << (p.shift ? shift[k] : 0));
}

// cached: constants and rows fit shared memory.
template <int vector, bool cached>
__device__ void layernorm_codes(const LayerNormCodesParams& p) {
  extern __shared__ __align__(16) float shared[];
  const int lane = threadIdx.x % 32, slot = threadIdx.x / 32;
  NormColumns columns = NormColumns::stage<vector>(p, cached ? shared : nullptr);
  int* mine = reinterpret_cast<int*>(shared + (kLayerNormConstants + slot) * layernorm_pitch(p.width));
  __syncthreads();
  const float width = float(p.width);
#pragma unroll 1
  for (int r = blockIdx.x * kLayerNormCodesRows + slot; r < p.rows; r += gridDim.x * kLayerNormCodesRows) {
    const uint8_t* row = row_of(p.x, r, p.image_rows);
    columns.begin_row(p, r);
    int sum = 0;            // |sum| <= 2^30
    long long squares = 0;  // <= 2^44
    each_column<vector, 2>(lane, 32, p.width, [&](auto n, int i) {
      uint8_t x[n];
      int z[n];
      load<n>(row + i, x);
      decode(p, x, i, z);
#pragma unroll
      for (int k = 0; k < n; ++k) sum += z[k], squares += static_cast<long long>(z[k]) * z[k];
      if (cached) store<n>(mine + i, z);
    });
    sum = warp_sum(sum);
    squares = warp_sum(squares);
    const float v = __ll2float_rn(p.width * squares - static_cast<long long>(sum) * sum) + p.eps;
    const float scale = v > 0.0f ? 1.0f / __fsqrt_rn(v) : 0.0f, minus_sum = -float(sum);
    each_column<vector>(lane, 32, p.width, [&](auto n, int i) {
      int z[n];
      if (cached) {
        load<n>(mine + i, z);  // what this thread put there
      } else {
        uint8_t x[n];
        load<n>(row + i, x);
        decode(p, x, i, z);
      }
      float y[n];
#pragma unroll
      for (int k = 0; k < n; ++k) y[k] = __fmaf_rn(float(z[k]), width, minus_sum) * scale;
      columns.finish(p, r, i, y);
    });
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
