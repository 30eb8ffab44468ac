// Pointwise (native/ops/pointwise.h) on a CUDA device.
#pragma once

#include "cuda/ops/device.h"
#include "ops/pointwise.h"

namespace fewbit::cuda {

// Field by field as in Pointwise, with device pointers. gain lies at a multiple of 64 bytes.
struct PointwiseParams {
  int rows, image_rows, width;
  Matrix<const float> x;
  Function function;
  const float* gain;
  Matrix<const float> factor, residual;
  // Exactly one has data.
  Matrix<float> y_float;
  Matrix<uint8_t> y_codes;
  Encoder encode;
};

Launch pointwise_launch(const PointwiseParams& params, const Device& device);

}  // namespace fewbit::cuda
