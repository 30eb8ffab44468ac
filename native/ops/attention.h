// Multi-head self-attention: softmax(Q K^T * scale) V for each image and head, on codes and on floats.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/encode.h"

namespace fewbit {

// Head h of row t lies at column h * head_width. Image b starts image_stride after image b - 1.
//
// Quantized. For image, head h, query t, key s, channel c:
//   S[s]  = sum_c (q[t][c] - 128) (k[s][c] - 128)                    exact int32
//   m     = max_s S[s]
//   e[s]  = exp_nonpositive(float(S[s] - m) * logit_scale[h])         (ops/numeric.h; float(...) of an int32)
//   z     = tree16 over s of e[s]                                     (lanes as in ops/layernorm.h)
//   P[s]  = encode_p(e[s] * (1 / z)) with inverse step p_inverse_step[h]; offset of this code is 0
//   O[c]  = sum_s P[s] (v[s][c] - 128)                                exact int32
//   y     = encode(float(O[c]) * output_scale[h])
struct AttentionCodes {
  int images, heads, tokens, head_width;
  const uint8_t *q, *k, *v;                                  // bytes with offset 128
  ptrdiff_t q_stride, k_stride, v_stride;                    // bytes from row to row
  ptrdiff_t q_image_stride, k_image_stride, v_image_stride;  // bytes
  // [heads]
  const float* logit_scale;     // step of q * step of k / sqrt(head_width)
  const float* p_inverse_step;  // replaces encode_p.inverse_step
  const float* output_scale;    // step of P * step of v
  Encoder encode_p;             // levels 0..255
  uint8_t* y;
  ptrdiff_t y_stride, y_image_stride;  // bytes
  Encoder encode;
};

struct AttentionF32 {
  int images, heads, tokens, head_width;
  const float *q, *k, *v;
  ptrdiff_t q_stride, k_stride, v_stride;                    // floats
  ptrdiff_t q_image_stride, k_image_stride, v_image_stride;  // floats
  float scale;                                               // usually 1 / sqrt(head_width)
  float* y;
  ptrdiff_t y_stride, y_image_stride;
  // Null, or where softmax's output is kept for calibration: row h * tokens + t of an image holds P[h][t][0..tokens).
  float* probabilities;
  ptrdiff_t probabilities_stride, probabilities_image_stride;  // floats
};

// A task is one head of one image.
template <class Op>
static constexpr int attention_tasks(const Op& op) {
  return op.images * op.heads;
}

// Scratch a thread needs, 64-byte aligned.
size_t attention_codes_scratch(int tokens, int head_width);
size_t attention_f32_scratch(int tokens, int head_width);

void attention_codes_reference(const AttentionCodes& op);
void attention_f32_reference(const AttentionF32& op);

}  // namespace fewbit
