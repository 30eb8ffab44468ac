// AttentionF32 (native/ops/attention.h) on a CUDA device.
#pragma once

#include "cuda/ops/device.h"
#include "ops/attention.h"

namespace fewbit::cuda {

// Field by field as in AttentionF32, with device pointers.
struct AttentionF32Params {
  int images, heads, tokens, head_width;
  Matrix<const float> q, k, v;
  const float* scale;  // [heads]
  Matrix<float> y;
  Matrix<float> probabilities;  // or without data
  AttentionWindows windows;
  uint8_t* workspace;
};

// A block has kAttentionF32Queries queries, a warp each, which keeps a float a key.
constexpr int kAttentionF32Queries = 4;

Workspace attention_f32_workspace(const AttentionF32Params& params, const Device& device);
Launch attention_f32_launch(const AttentionF32Params& params, const Device& device);

}  // namespace fewbit::cuda
