// Multi-head self-attention: softmax(Q K^T * scale + bias) V for each image, window and head, on codes and on floats.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/encode.h"

namespace fewbit {

// Which tokens attend to each other, and what is added to logits. As it stands: all rows of an image to all, and nothing.
struct AttentionWindows {
  int count = 1;
  // Null: one window, whose token t is row t. Else [count][tokens]: token t of window w is row rows[w][t] of q, k, v and y;
  // every row of an image is one token of one window. A partition into windows, a cyclic shift before it and the reverse of
  // both behind it are this table, and nothing is copied.
  const int32_t* rows = nullptr;
  // Null, or [heads][tokens][tokens], finite: bias[h][t][s] is added to the logit of query t and key s in every window.
  const float* bias = nullptr;
  // Of AttentionCodes: bias with queries and keys exchanged, as exchange_bias writes it, wherever there is bias for kernels that
  // read it (Kernels::bias_by_key), which have queries in the lanes of a vector; else null.
  const float* bias_by_key = nullptr;
  // Null, or [count][tokens]: tokens of one window in different regions do not attend to each other (the weight is 0).
  const uint8_t* regions = nullptr;
};

// Head h of row t lies at column h * head_width. Image b starts image_stride after image b - 1.
//
// Quantized. For image, window and head h, query t, key s, channel c, where q[t] is the row of token t:
//   S[s]  = sum_c (q[t][c] - 128) (k[s][c] - 128)                    exact int32
// On logits that are neither biased nor parted nor coded, all keys are attended:
//   m     = max_s S[s]
//   e[s]  = exp_nonpositive(float(S[s] - m) * logit_scale[h])         (ops/numeric.h; float(...) of an int32)
// Else, where b is bias[h][t][s] or +0, and t attends to the keys of its own region or to all:
//   x[s]  = fma(float(S[s]), logit_scale[h], b)
//   x[s]  = float(rne(clamp(x[s] * logit_inverse_step, -128, 127)))   with a code of logits: round half to even
//   m     = max of x[s] over the keys that are attended
//   e[s]  = exp_nonpositive((x[s] - m) * u)                           u = logit_step with a code of logits, else 1
//         = 0 for the keys that are not
// And then, where encode_p has inverse step p_inverse_step[h] and offset 0,
//   z     = tree16 over s of e[s]                                     (lanes as in ops/layernorm.h)
//   P[s]  = encode_p(e[s] * (1 / z))
//   u     = output_scale[h]
// or with `relative`, so that the largest of each query is 1 before it is rounded, and codes add up to 1 exactly:
//   P[s]  = encode_p(e[s])
//   u     = output_scale[h] * (1 / float(max(sum_s P[s], 1)))
// And of both:
//   O[c]  = sum_s P[s] (v[s][c] - 128)                                exact int32
//   y     = encode(float(O[c]) * u)
struct AttentionCodes {
  int images, heads, tokens, head_width;                     // tokens of a window
  const uint8_t *q, *k, *v;                                  // bytes with offset 128
  ptrdiff_t q_stride, k_stride, v_stride;                    // bytes from row to row
  ptrdiff_t q_image_stride, k_image_stride, v_image_stride;  // bytes
  // [heads]
  const float* logit_scale;     // step of q * step of k / sqrt(head_width)
  const float* p_inverse_step;  // replaces encode_p.inverse_step
  const float* output_scale;    // step of P * step of v; relative: step of v
  Encoder encode_p;             // levels 0..255
  uint8_t* y;
  ptrdiff_t y_stride, y_image_stride;  // bytes
  Encoder encode;
  AttentionWindows windows;
  float logit_inverse_step, logit_step;  // of the code of logits; both 0 without one
  bool relative;                         // codes of P relative to the largest of each query
};

struct AttentionF32 {
  int images, heads, tokens, head_width;  // tokens of a window
  const float *q, *k, *v;
  ptrdiff_t q_stride, k_stride, v_stride;                    // floats
  ptrdiff_t q_image_stride, k_image_stride, v_image_stride;  // floats
  const float* scale;                                        // [heads], usually 1 / sqrt(head_width)
  float* y;
  ptrdiff_t y_stride, y_image_stride;
  // Null, or where softmax's output is kept for calibration: row (w * heads + h) * tokens + t of an image holds
  // P[w][h][t][0..tokens).
  float* probabilities;
  ptrdiff_t probabilities_stride, probabilities_image_stride;  // floats
  AttentionWindows windows;
};

// A task is one head of one window of one image.
template <class Op>
static constexpr int attention_tasks(const Op& op) {
  return op.images * op.windows.count * op.heads;
}

// What a task sees of its window.
struct AttentionPlace {
  int image, window, head;
  const int32_t* rows;     // null, or [tokens]
  const float* bias;       // null, or [tokens][tokens]
  const uint8_t* regions;  // null, or [tokens]
};

template <class Op>
static inline AttentionPlace attention_place(const Op& op, int task) {
  const AttentionWindows& windows = op.windows;
  const int head = task % op.heads, window = task / op.heads % windows.count;
  const ptrdiff_t first = ptrdiff_t(window) * op.tokens;
  return {task / op.heads / windows.count,
          window,
          head,
          windows.rows ? windows.rows + first : nullptr,
          windows.bias ? windows.bias + ptrdiff_t(head) * op.tokens * op.tokens : nullptr,
          windows.regions ? windows.regions + first : nullptr};
}

static inline ptrdiff_t attention_row(const int32_t* rows, int token) { return rows ? rows[token] : token; }

// Whether the softmax of a task is that of float logits.
static inline bool attention_has_logits(const AttentionCodes& op) {
  return op.windows.bias || op.windows.regions || op.logit_inverse_step > 0;
}

// u of a query whose codes of probabilities are relative, and have this sum.
static constexpr float relative_scale(float output_scale, int32_t sum) {
  return output_scale * (1.0f / float(sum > 1 ? sum : 1));
}

// bias to [heads][tokens][tokens rounded up to 16]: that of query t and key s of head h at (h * tokens + s) * row + t.
static constexpr int bias_by_key_row(int tokens) { return (tokens + 15) / 16 * 16; }
void exchange_bias(const float* bias, int heads, int tokens, float* by_key);

// Where queries stand in lanes: bytes of scores that stay in the first-level cache beside K, and the most queries at once.
constexpr int kLaneScoreBytes = 28 << 10;
constexpr int kMostLaneQueries = 64;
// Most queries that are left over and go by themselves.
constexpr int kMostFewQueries = 5;

// Scratch a thread needs, 64-byte aligned.
size_t attention_codes_scratch(int tokens, int head_width);
size_t attention_f32_scratch(int tokens, int head_width);

void attention_codes_reference(const AttentionCodes& op);
void attention_f32_reference(const AttentionF32& op);

}  // namespace fewbit
