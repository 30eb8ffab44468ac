// What stands between matrix products and could not move into one of them: a thread has one vector of columns.
#include "cuda/kernels/numeric.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/pointwise.h"

namespace fewbit::cuda {
namespace {

template <int vector>
__device__ void pointwise(const PointwiseParams& p) {
  const int vectors = p.width / vector;
  const long long thread = static_cast<long long>(blockIdx.x) * kPointwiseThreads + threadIdx.x;
  const long long r = thread / vectors;
  if (r >= p.rows) return;
  const int image = int(r) / p.image_rows, row = int(r) % p.image_rows, column = int(thread % vectors) * vector;
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

}  // namespace
}  // namespace fewbit::cuda

using fewbit::cuda::PointwiseParams;

extern "C" __global__ void __launch_bounds__(256) fewbit_pointwise_vectors(const PointwiseParams p) {
  fewbit::cuda::pointwise<4>(p);
}
extern "C" __global__ void __launch_bounds__(256) fewbit_pointwise_elements(const PointwiseParams p) {
  fewbit::cuda::pointwise<1>(p);
}
