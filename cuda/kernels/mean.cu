// The mean of all rows. Warp j of a block is lane j of the summation tree for 32 columns; lanes meet in shared memory.
#include "cuda/kernels/numeric.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/mean.h"

extern "C" __global__ void __launch_bounds__(512) fewbit_mean(const fewbit::cuda::MeanParams p) {
  using namespace fewbit::cuda;
  __shared__ float floats[kMeanLanes][kMeanColumns];
  __shared__ int sums[kMeanLanes][kMeanColumns];
  const int blocks = (p.width + kMeanColumns - 1) / kMeanColumns;
  const int image = blockIdx.x / blocks, column = blockIdx.x % blocks * kMeanColumns + threadIdx.x;
  const bool inside = column < p.width;
  const int lane = threadIdx.y;
  if (p.x_float.data) {
    float sum = 0.0f;
    for (int r = lane; inside && r < p.rows; r += kMeanLanes) sum = sum + p.x_float.at(image, r)[column];
    floats[lane][threadIdx.x] = sum;
  } else {
    int sum = 0;
    for (int r = lane; inside && r < p.rows; r += kMeanLanes) sum += p.x_codes.at(image, r)[column] - p.x_offset;
    sums[lane][threadIdx.x] = sum;
  }
  for (int half = kMeanLanes / 2; half; half /= 2) {
    __syncthreads();
    if (lane >= half) continue;
    if (p.x_float.data)
      floats[lane][threadIdx.x] = floats[lane][threadIdx.x] + floats[lane + half][threadIdx.x];
    else
      sums[lane][threadIdx.x] += sums[lane + half][threadIdx.x];
  }
  if (lane != 0 || !inside) return;
  const float y = p.x_float.data ? floats[0][threadIdx.x] / float(p.rows) : float(sums[0][threadIdx.x]) * p.scale;
  store_target<1>(p.y_float.data ? p.y_float.at(image, 0) : nullptr, p.y_codes.data ? p.y_codes.at(image, 0) : nullptr, p.encode,
                  column, &y);
}
