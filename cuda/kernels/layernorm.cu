// LayerNorm of floats. Half a warp has a row: thread j is lane j of the summation tree of the contract. The row waits in shared
// memory between its three readings, so that global memory is read once; what is not summed is taken four columns at a time.
#include "cuda/kernels/layernorm.cuh"

namespace fewbit::cuda {
namespace {

// cached: constants and rows fit shared memory.
template <int vector, bool cached>
__device__ void layernorm(const LayerNormParams& p) {
  extern __shared__ __align__(16) float shared[];
  const int lane = threadIdx.x % 16, slot = threadIdx.x / 16, pitch = layernorm_pitch(p.width);
  NormColumns columns = NormColumns::stage<vector>(p, cached ? shared : nullptr);
  float* mine = shared + (kLayerNormConstants + slot) * pitch;
  __syncthreads();
#pragma unroll 1
  for (int first = blockIdx.x * kLayerNormRows; first < p.rows; first += gridDim.x * kLayerNormRows) {
    const int r = first + slot;
    columns.begin_row(p, r);
    // Threads without a row stay: shuffles want whole warps.
    const int width = r < p.rows ? p.width : 0;
    const float* row = row_of(p.x, r < p.rows ? r : 0, p.image_rows);
    if (cached) {
      each_column<vector, 2>(lane, 16, width, [&](auto n, int i) {
        float x[n];
        load<n>(row + i, x);
        store<n>(mine + i, x);
      });
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
    each_column<vector>(lane, 16, width, [&](auto n, int i) {
      float x[n];
      load<n>(row + i, x);
#pragma unroll
      for (int k = 0; k < n; ++k) x[k] = (x[k] - mean) * scale;
      columns.finish(p, r, i, x);
    });
    __syncwarp();
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
