// Plain loops that a compiler vectorises for its baseline: int16 copies of K and V turn the products into pmaddwd.
#include <cmath>
#include <cstring>

#include "cpu/attention_floats_portable.h"
#include "cpu/implementations.h"
#include "cpu/noinline.h"

namespace fewbit {
namespace {

// e of a query from its scores, all keys alike, and their sum.
float exponentials(const int32_t* scores, int tokens, float scale, float* e) {
  int32_t m = scores[0];
  for (int s = 1; s < tokens; ++s) m = scores[s] > m ? scores[s] : m;
  float lanes[16] = {};
  for (int s = 0; s < tokens; ++s) lanes[s % 16] += e[s] = exp_nonpositive(float(scores[s] - m) * scale);
  return tree16(lanes);
}

// The same on logits of query t.
FEWBIT_NOINLINE float exponentials_of_logits(const AttentionCodes& op, const AttentionPlace& place, int t, const int32_t* scores,
                                             float* e) {
  const int tokens = op.tokens;
  const float scale = op.logit_scale[place.head];
  const float* bias = place.bias ? place.bias + ptrdiff_t(t) * tokens : nullptr;
  for (int s = 0; s < tokens; ++s) e[s] = std::fma(float(scores[s]), scale, bias ? bias[s] : 0.0f);
  float unit = 1.0f;
  if (op.logit_inverse_step > 0) {
    unit = op.logit_step;
    for (int s = 0; s < tokens; ++s) e[s] = float(round_even(clamp(e[s] * op.logit_inverse_step, -128.0f, 127.0f)));
  }
  part(place.regions, t, tokens, e);
  float m = e[t];
  for (int s = 0; s < tokens; ++s) m = e[s] > m ? e[s] : m;
  float lanes[16] = {};
  for (int s = 0; s < tokens; ++s) lanes[s % 16] += e[s] = exp_nonpositive((e[s] - m) * unit);
  return tree16(lanes);
}

}  // namespace

void attention_codes_portable(const AttentionCodes& op, int task, void* scratch) {
  const AttentionPlace place = attention_place(op, task);
  const int b = place.image, h = place.head, tokens = op.tokens, width = op.head_width;
  const int32_t* rows = place.rows;
  const uint8_t* q = op.q + b * op.q_image_stride + h * width;
  const uint8_t* k = op.k + b * op.k_image_stride + h * width;
  const uint8_t* v = op.v + b * op.v_image_stride + h * width;
  uint8_t* y = op.y + b * op.y_image_stride + h * width;
  const bool logits = attention_has_logits(op);

  // Four bytes wide first, so that each array is aligned whatever the sizes.
  int32_t* scores = static_cast<int32_t*>(scratch);
  float* e = reinterpret_cast<float*>(scores + tokens);
  int32_t* sums = reinterpret_cast<int32_t*>(e + tokens);
  int16_t* k16 = reinterpret_cast<int16_t*>(sums + width);
  int16_t* v16 = k16 + ptrdiff_t(tokens) * width;
  int16_t* q16 = v16 + ptrdiff_t(tokens) * width;
  for (int s = 0; s < tokens; ++s) {
    const uint8_t* k_row = k + attention_row(rows, s) * op.k_stride;
    const uint8_t* v_row = v + attention_row(rows, s) * op.v_stride;
    for (int c = 0; c < width; ++c) {
      k16[ptrdiff_t(s) * width + c] = static_cast<int16_t>(k_row[c] - 128);
      v16[ptrdiff_t(s) * width + c] = static_cast<int16_t>(v_row[c] - 128);
    }
  }

  for (int t = 0; t < tokens; ++t) {
    const ptrdiff_t row = attention_row(rows, t);
    const uint8_t* q_row = q + row * op.q_stride;
    uint8_t* y_row = y + row * op.y_stride;
    const Encoder code = encoder_of_row(op.encode, row);
    Encoder code_p = encoder_of_row(op.encode_p, row);
    code_p.inverse_step = op.p_inverse_step[h];
    for (int c = 0; c < width; ++c) q16[c] = static_cast<int16_t>(q_row[c] - 128);
    for (int s = 0; s < tokens; ++s) {
      const int16_t* key = k16 + ptrdiff_t(s) * width;
      int32_t sum = 0;
      for (int c = 0; c < width; ++c) sum += q16[c] * key[c];
      scores[s] = sum;
    }
    const float z = logits ? exponentials_of_logits(op, place, t, scores, e) : exponentials(scores, tokens, op.logit_scale[h], e);
    const float inverse_z = op.relative ? 1.0f : 1.0f / z;
    std::memset(sums, 0, width * sizeof(int32_t));
    int32_t sum_p = 0;
    for (int s = 0; s < tokens; ++s) {
      const int p = encode(code_p, e[s] * inverse_z);
      if (p == 0) continue;  // at few bits most are
      sum_p += p;
      const int16_t* value = v16 + ptrdiff_t(s) * width;
      for (int c = 0; c < width; ++c) sums[c] += p * value[c];
    }
    const float scale = op.relative ? relative_scale(op.output_scale[h], sum_p) : op.output_scale[h];
    for (int c = 0; c < width; ++c) y_row[c] = encode(code, float(sums[c]) * scale);
  }
}

void attention_f32_portable(const AttentionF32& op, int task, void* scratch) {
  const AttentionPlace place = attention_place(op, task);
  const int b = place.image, h = place.head, tokens = op.tokens, width = op.head_width;
  const int32_t* rows = place.rows;
  const float* q = op.q + b * op.q_image_stride + h * width;
  const float* k = op.k + b * op.k_image_stride + h * width;
  const float* v = op.v + b * op.v_image_stride + h * width;
  float* y = op.y + b * op.y_image_stride + h * width;

  // K transposed, so that the inner loop runs over keys without a sum that the compiler may not reorder.
  float* k_t = static_cast<float*>(scratch);  // [width][tokens]
  float* p = k_t + ptrdiff_t(width) * tokens;
  float* o = p + tokens;
  for (int s = 0; s < tokens; ++s) {
    const float* row = k + attention_row(rows, s) * op.k_stride;
    for (int c = 0; c < width; ++c) k_t[ptrdiff_t(c) * tokens + s] = row[c];
  }

  for (int t = 0; t < tokens; ++t) {
    const float* q_row = q + attention_row(rows, t) * op.q_stride;
    std::memset(p, 0, tokens * sizeof(float));
    for (int c = 0; c < width; ++c) {
      const float x = q_row[c];
      const float* row = k_t + ptrdiff_t(c) * tokens;
      for (int s = 0; s < tokens; ++s) p[s] += x * row[s];
    }
    softmax(place, t, tokens, op.scale[h], p);
    if (op.probabilities) {
      const ptrdiff_t row = (ptrdiff_t(place.window) * op.heads + h) * tokens + t;
      std::memcpy(op.probabilities + b * op.probabilities_image_stride + row * op.probabilities_stride, p,
                  tokens * sizeof(float));
    }
    std::memset(o, 0, width * sizeof(float));
    for (int s = 0; s < tokens; ++s) {
      const float* row = v + attention_row(rows, s) * op.v_stride;
      for (int c = 0; c < width; ++c) o[c] += p[s] * row[c];
    }
    std::memcpy(y + attention_row(rows, t) * op.y_stride, o, width * sizeof(float));
  }
}

}  // namespace fewbit
