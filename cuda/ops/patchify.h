// Patchify (native/ops/patchify.h) on a CUDA device.
#pragma once

#include "cuda/ops/device.h"
#include "ops/patchify.h"

namespace fewbit::cuda {

// Field by field as in Patchify, for all images of a pass.
struct PatchifyParams {
  int images, channels, height, width, patch_height, patch_width;
  const float* image;
  int64_t image_stride;  // floats
  // Exactly one has data; rows are patches.
  Matrix<float> y_float;
  Matrix<uint8_t> y_codes;
  Encoder encode;
};

Launch patchify_launch(const PatchifyParams& params, const Device& device);

}  // namespace fewbit::cuda
