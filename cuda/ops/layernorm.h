// LayerNorm of floats and of codes (native/ops/layernorm.h) on a CUDA device.
#pragma once

#include "cuda/ops/device.h"
#include "ops/layernorm.h"

namespace fewbit::cuda {

// Field by field as in LayerNorm, with device pointers. gamma, beta and the encoder's steps lie at multiples of 64 bytes.
struct LayerNormParams {
  int rows, image_rows, width;
  Matrix<const float> x;
  const float* gamma;
  const float* beta;
  float eps;
  // Exactly one has data.
  Matrix<float> y_float;
  Matrix<uint8_t> y_codes;
  Encoder encode;
};

// As in LayerNormCodes; shift lies at a multiple of 64 bytes.
struct LayerNormCodesParams {
  int rows, image_rows, width;
  Matrix<const uint8_t> x;
  int offset;
  const uint8_t* shift;
  const float* gamma;
  const float* beta;
  float eps;
  Matrix<float> y_float;
  Matrix<uint8_t> y_codes;
  Encoder encode;
};

// Threads of a block. A row of floats belongs to half a warp, one lane of the summation tree a thread; a row of codes to a warp.
constexpr int kLayerNormThreads = 128;
constexpr int kLayerNormRows = kLayerNormThreads / 16;
constexpr int kLayerNormCodesRows = kLayerNormThreads / 32;

// Floats from row to row in shared memory: the two rows of a warp lie 16 banks apart. First come rows of constants: gamma, beta
// and the inverse steps.
FEWBIT_HOST_DEVICE constexpr int layernorm_pitch(int width) { return (width + 31) / 32 * 32 + 16; }
constexpr int kLayerNormConstants = 3;

Launch layernorm_launch(const LayerNormParams& params, const Device& device);
Launch layernorm_codes_launch(const LayerNormCodesParams& params, const Device& device);

}  // namespace fewbit::cuda
