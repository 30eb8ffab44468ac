// AttentionCodes (native/ops/attention.h) on a CUDA device.
#pragma once

#include "cuda/ops/device.h"
#include "ops/attention.h"

namespace fewbit::cuda {

// Field by field as in AttentionCodes, with device pointers. Strides and addresses of q, k, v and y are those of the plan: any
// multiple of a byte. Columns h * head_width .. belong to head h.
struct AttentionCodesParams {
  int images, heads, tokens, head_width;
  Matrix<const uint8_t> q, k, v;
  // [heads]
  const float* logit_scale;
  const float* p_inverse_step;
  const float* output_scale;
  Encoder encode_p;
  Matrix<uint8_t> y;
  Encoder encode;
  // windows.rows, .bias and .regions are device memory.
  AttentionWindows windows;
  float logit_inverse_step, logit_step;
  uint8_t* workspace;
  unsigned* counters;
  // Written by attention_codes_launch: blocks that share the queries of a head.
  int parts;
};

Workspace attention_codes_workspace(const AttentionCodesParams& params, const Device& device);
// Fills in the last field of params.
Launch attention_codes_launch(AttentionCodesParams& params, const Device& device);

}  // namespace fewbit::cuda
