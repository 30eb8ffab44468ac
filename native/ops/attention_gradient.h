// What multi-head self-attention makes of a gradient: from dL/dy to dL/dq, dL/dk, dL/dv. Float only; the probabilities are
// computed again.
#pragma once

#include <cstddef>

#include "ops/attention.h"

namespace fewbit {

// q, k, v and gradient lie as in AttentionF32 (ops/attention.h), with the same windows. For image, window, head h, query t,
// key s, channel c, where q[t] is the row of token t:
//   P[t][s]  = what softmax gives there
//   dP[t][s] = sum_c gradient[t][c] v[s][c]
//   dS[t][s] = P[t][s] (dP[t][s] - sum over s' of P[t][s'] dP[t][s'])
//   dq[t][c] = scale[h] * sum_s dS[t][s] k[s][c]
//   dk[s][c] = scale[h] * sum_t dS[t][s] q[t][c]
//   dv[s][c] = sum_t P[t][s] gradient[t][c]
// Order of summation is free; it does not depend on the number of threads.
struct AttentionGradient {
  int images, heads, tokens, head_width;                    // tokens of a window
  const float *q, *k, *v, *gradient;                        // gradient: dL/dy
  ptrdiff_t q_stride, k_stride, v_stride, gradient_stride;  // floats, as all strides
  ptrdiff_t q_image_stride, k_image_stride, v_image_stride, gradient_image_stride;
  const float* scale;  // [heads]
  // Rows of dq, dk and dv side by side, each heads * head_width wide. May be none of the inputs.
  float* y;
  ptrdiff_t y_stride, y_image_stride;
  // Null, or where dP is kept: row (w * heads + h) * tokens + t of an image holds dP[w][h][t][0..tokens).
  float* probabilities;
  ptrdiff_t probabilities_stride, probabilities_image_stride;
  AttentionWindows windows;
};

// Queries that the AVX-512 path takes at a time.
constexpr int kAttentionGradientBlock = 48;

// A task is one head of one window of one image (attention_tasks of ops/attention.h). Scratch a thread needs, 64-byte aligned.
size_t attention_gradient_scratch(int tokens, int head_width);

void attention_gradient_reference(const AttentionGradient& op);

}  // namespace fewbit
