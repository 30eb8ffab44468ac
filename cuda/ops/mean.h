// Mean (native/ops/mean.h) on a CUDA device.
#pragma once

#include "cuda/ops/device.h"
#include "ops/mean.h"

namespace fewbit::cuda {

// Field by field as in Mean, for all images of a pass; y has one row an image.
struct MeanParams {
  int images, rows, width;
  // Exactly one has data.
  Matrix<const float> x_float;
  Matrix<const uint8_t> x_codes;
  int x_offset;
  float scale;
  // Exactly one has data.
  Matrix<float> y_float;
  Matrix<uint8_t> y_codes;
  Encoder encode;
};

// A block has kMeanColumns columns of an image, and for each one thread a lane of the summation tree.
constexpr int kMeanColumns = 32;
constexpr int kMeanLanes = 16;

Launch mean_launch(const MeanParams& params, const Device& device);

}  // namespace fewbit::cuda
