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
  bool relative;
  // What two_scales() found in encode_p.table, or zeros.
  int fine_levels, coarse_shift;
  // For kernels of biased, parted or coded logits on tensor cores: what attention_codes_bias writes, or null, and what
  // attention_codes_foreign does.
  const float* bias;
  const uint32_t* foreign;
  uint8_t* workspace;
  unsigned* counters;
  // Written by attention_codes_launch: blocks that share the queries of a head.
  int parts;
};

// A code of two scales: the levels 0 .. fine_levels - 1, and as many that are 2^coarse_shift apart. Values from fine_levels on,
// less half a step, are rounded to the latter.
struct TwoScales {
  int fine_levels, coarse_shift;
};
// Whether `table`, on the host, is that of such a code whose largest level is `high`. Zeros where it is another one: codebooks,
// and scales so far apart that there is a gap between them.
TwoScales two_scales(const uint8_t* table, int high);

// Groups of 16 keys of the kernel that will run, if it is one of biased, parted or coded logits on tensor cores, else 0.
int attention_codes_groups(const AttentionCodesParams& params, const Device& device);
// Bias and regions as the threads of a warp hold scores; on the host.
size_t attention_codes_bias_floats(int heads, int tokens, int groups);
void attention_codes_bias(const float* bias, int heads, int tokens, int groups, float* to);
// Of keys in other regions than the query, and of those that are not there. regions: or null.
size_t attention_codes_foreign_words(int windows, int tokens, int groups);
void attention_codes_foreign(const uint8_t* regions, int windows, int tokens, int groups, uint32_t* to);

Workspace attention_codes_workspace(const AttentionCodesParams& params, const Device& device);
// Fills in the last field of params.
Launch attention_codes_launch(AttentionCodesParams& params, const Device& device);

}  // namespace fewbit::cuda
