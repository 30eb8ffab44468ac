// LinearF32 (native/ops/linear.h) on a CUDA device.
#pragma once

#include "cuda/ops/device.h"
#include "ops/linear.h"

namespace fewbit::cuda {

// Field by field as in LinearF32, with device pointers. weight, bias and gain lie at multiples of 64 bytes.
struct LinearF32Params {
  int rows, image_rows, inputs, outputs;
  Matrix<const float> x;
  const float* weight;
  const float* bias;
  Activation activation;
  const float* gain;
  Matrix<const float> residual;
  Matrix<float> y;
  // Layers of the same x side by side, each with so many outputs, a multiple of 16, or 0. parts, in device memory: floats from y
  // to the target of each.
  int part_outputs;
  const int64_t* parts;
};

// A block has 64 outputs and 64 rows: 16 x 16 threads with 4 x 4 each, and takes 16 inputs at a time.
constexpr int kLinearF32Tile = 64;
constexpr int kLinearF32Depth = 16;

Launch linear_f32_launch(const LinearF32Params& params, const Device& device);

}  // namespace fewbit::cuda
