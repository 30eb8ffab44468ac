// The linear layer on floats, for calibration and comparison: tiles of 64 rows x 64 outputs in shared memory, 4 x 4 of them in
// the registers of a thread.
#include "cuda/kernels/numeric.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/linear_f32.h"

namespace fewbit::cuda {
namespace {

constexpr int kTile = kLinearF32Tile, kDepth = kLinearF32Depth;
// Rows of x in shared memory begin in different banks.
constexpr int kPitch = kTile + 4;

// Inputs k.. of 64 rows, transposed: x[input][row]. What lies outside is zero.
__device__ void stage_x(const LinearF32Params& p, int first_row, int k, float (*x)[kPitch]) {
  for (int i = threadIdx.x; i < kTile * kDepth; i += 256) {
    const int r = first_row + i / kDepth, input = k + i % kDepth;
    x[i % kDepth][i / kDepth] = r < p.rows && input < p.inputs ? row_of(p.x, r, p.image_rows)[input] : 0.0f;
  }
}

// Inputs k.. of 64 outputs: weight[input][output], from panels of 16 outputs.
__device__ void stage_weight(const LinearF32Params& p, int first_output, int k, float (*weight)[kTile]) {
  const int panels = (p.outputs + 15) / 16;
  for (int i = threadIdx.x; i < kTile * kDepth; i += 256) {
    const int n = i % 16, input = k + i / 16 % kDepth, panel = first_output / 16 + i / 16 / kDepth;
    const bool inside = panel < panels && input < p.inputs;
    weight[i / 16 % kDepth][i / 16 / kDepth * 16 + n] =
        inside ? p.weight[(static_cast<long long>(panel) * p.inputs + input) * 16 + n] : 0.0f;
  }
}

// What follows the product, for a tile in shared memory.
__device__ void finish(const LinearF32Params& p, int first_row, int first_output, const float* tile) {
#pragma unroll 1
  for (int i = threadIdx.x; i < kTile * kTile; i += 256) {
    const int r = first_row + i / kTile, output = first_output + i % kTile;
    if (r >= p.rows || output >= p.outputs) continue;
    const int image = r / p.image_rows, row = r % p.image_rows;
    float y = tile[i];
    if (p.activation == Activation::gelu) y = gelu(y);
    if (p.gain) y = y * p.gain[output];
    if (p.residual.data) y = y + p.residual.at(image, row)[output];
    const int part = p.part_outputs ? output / p.part_outputs : 0;
    p.y.at(image, row)[output + (part ? p.parts[part] - part * p.part_outputs : 0)] = y;
  }
}

}  // namespace
}  // namespace fewbit::cuda

extern "C" __global__ void __launch_bounds__(256) fewbit_linear_f32(const fewbit::cuda::LinearF32Params p) {
  using namespace fewbit::cuda;
  // Inputs of a tile, then its outputs.
  __shared__ __align__(16) float memory[kTile * kTile];
  auto* x = reinterpret_cast<float(*)[kPitch]>(memory);
  auto* weight = reinterpret_cast<float(*)[kTile]>(memory + kDepth * kPitch);
  const int row_tiles = (p.rows + kTile - 1) / kTile;
  const int first_row = blockIdx.x % row_tiles * kTile, first_output = blockIdx.x / row_tiles * kTile;
  const int row = threadIdx.x / 16 * 4, output = threadIdx.x % 16 * 4;
  float acc[4][4];
  for (int j = 0; j < 4; ++j) {
    const float bias = first_output + output + j < p.outputs ? p.bias[first_output + output + j] : 0.0f;
    for (int i = 0; i < 4; ++i) acc[i][j] = bias;
  }
  for (int k = 0; k < p.inputs; k += kDepth) {
    __syncthreads();
    stage_x(p, first_row, k, x);
    stage_weight(p, first_output, k, weight);
    __syncthreads();
#pragma unroll 4
    for (int d = 0; d < kDepth; ++d) {
      float a[4], b[4];
      load<4>(&x[d][row], a);
      load<4>(&weight[d][output], b);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) acc[i][j] = __fmaf_rn(a[i], b[j], acc[i][j]);
    }
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 4; ++i) store<4>(memory + (row + i) * kTile + output, acc[i]);
  __syncthreads();
  finish(p, first_row, first_output, memory);
}
