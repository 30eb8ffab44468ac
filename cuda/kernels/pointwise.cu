// What stands between matrix products and could not move into one of them: a warp has a row.
#include "cuda/kernels/numeric.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/pointwise.h"

namespace fewbit::cuda {
namespace {

template <int vector>
__device__ void pointwise_vector(const PointwiseParams& p, int image, int row, int column) {
  float y[vector], other[vector];
  load<vector>(p.x.at(image, row) + column, y);
#pragma unroll
  for (int k = 0; k < vector; ++k) {
    if (p.function == Function::gelu) y[k] = gelu(y[k]);
    if (p.function == Function::gelu_slope) y[k] = gelu_slope(y[k]);
  }
  if (p.gain) {
    load<vector>(p.gain + column, other);
#pragma unroll
    for (int k = 0; k < vector; ++k) y[k] = y[k] * other[k];
  }
  if (p.factor.data) {
    load<vector>(p.factor.at(image, row) + column, other);
#pragma unroll
    for (int k = 0; k < vector; ++k) y[k] = y[k] * other[k];
  }
  if (p.residual.data) {
    load<vector>(p.residual.at(image, row) + column, other);
#pragma unroll
    for (int k = 0; k < vector; ++k) y[k] = y[k] + other[k];
  }
  store_target<vector>(p.y_float.data ? p.y_float.at(image, row) : nullptr, p.y_codes.data ? p.y_codes.at(image, row) : nullptr,
                       p.encode, column, y);
}

template <int vector>
__device__ void pointwise(const PointwiseParams& p) {
  const int r = blockIdx.x * blockDim.y + threadIdx.y;
  if (r >= p.rows) return;
  each_column<vector>(threadIdx.x, 32, p.width,
                      [&](auto n, int column) { pointwise_vector<n>(p, r / p.image_rows, r % p.image_rows, column); });
}

}  // namespace
}  // namespace fewbit::cuda

using fewbit::cuda::PointwiseParams;

extern "C" __global__ void __launch_bounds__(256) fewbit_pointwise_vectors(const PointwiseParams p) {
  fewbit::cuda::pointwise<4>(p);
}
extern "C" __global__ void __launch_bounds__(256) fewbit_pointwise_elements(const PointwiseParams p) {
  fewbit::cuda::pointwise<1>(p);
}
