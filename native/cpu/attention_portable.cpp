// Plain loops that a compiler vectorises for its baseline: int16 copies of K and V turn the products into pmaddwd.
#include <cstring>

#include "cpu/implementations.h"
#include "ops/numeric.h"

namespace fewbit {

void attention_codes_portable(const AttentionCodes& op, int task, void* scratch) {
  const int b = task / op.heads, h = task % op.heads, tokens = op.tokens, width = op.head_width;
  const uint8_t* q = op.q + b * op.q_image_stride + h * width;
  const uint8_t* k = op.k + b * op.k_image_stride + h * width;
  const uint8_t* v = op.v + b * op.v_image_stride + h * width;
  uint8_t* y = op.y + b * op.y_image_stride + h * width;
  Encoder encode_p = op.encode_p;
  encode_p.inverse_step = op.p_inverse_step[h];

  // Four bytes wide first, so that each array is aligned whatever the sizes.
  int32_t* scores = static_cast<int32_t*>(scratch);
  float* e = reinterpret_cast<float*>(scores + tokens);
  int32_t* sums = reinterpret_cast<int32_t*>(e + tokens);
  int16_t* k16 = reinterpret_cast<int16_t*>(sums + width);
  int16_t* v16 = k16 + ptrdiff_t(tokens) * width;
  int16_t* q16 = v16 + ptrdiff_t(tokens) * width;
  for (int s = 0; s < tokens; ++s)
    for (int c = 0; c < width; ++c) {
      k16[ptrdiff_t(s) * width + c] = static_cast<int16_t>(k[s * op.k_stride + c] - 128);
      v16[ptrdiff_t(s) * width + c] = static_cast<int16_t>(v[s * op.v_stride + c] - 128);
    }

  for (int t = 0; t < tokens; ++t) {
    for (int c = 0; c < width; ++c) q16[c] = static_cast<int16_t>(q[t * op.q_stride + c] - 128);
    for (int s = 0; s < tokens; ++s) {
      const int16_t* row = k16 + ptrdiff_t(s) * width;
      int32_t sum = 0;
      for (int c = 0; c < width; ++c) sum += q16[c] * row[c];
      scores[s] = sum;
    }
    int32_t m = scores[0];
    for (int s = 1; s < tokens; ++s) m = scores[s] > m ? scores[s] : m;
    float lanes[16] = {};
    for (int s = 0; s < tokens; ++s) {
      e[s] = exp_nonpositive(float(scores[s] - m) * op.logit_scale[h]);
      lanes[s % 16] += e[s];
    }
    const float inverse_z = 1.0f / tree16(lanes);
    std::memset(sums, 0, width * sizeof(int32_t));
    for (int s = 0; s < tokens; ++s) {
      const int p = encode(encode_p, e[s] * inverse_z);
      if (p == 0) continue;  // at few bits most are
      const int16_t* row = v16 + ptrdiff_t(s) * width;
      for (int c = 0; c < width; ++c) sums[c] += p * row[c];
    }
    for (int c = 0; c < width; ++c) y[t * op.y_stride + c] = encode(op.encode, float(sums[c]) * op.output_scale[h]);
  }
}

void attention_f32_portable(const AttentionF32& op, int task, void* scratch) {
  const int b = task / op.heads, h = task % op.heads, tokens = op.tokens, width = op.head_width;
  const float* q = op.q + b * op.q_image_stride + h * width;
  const float* k = op.k + b * op.k_image_stride + h * width;
  const float* v = op.v + b * op.v_image_stride + h * width;
  float* y = op.y + b * op.y_image_stride + h * width;

  // K transposed, so that the inner loop runs over keys without a sum that the compiler may not reorder.
  float* k_t = static_cast<float*>(scratch);  // [width][tokens]
  float* p = k_t + ptrdiff_t(width) * tokens;
  float* o = p + tokens;
  for (int s = 0; s < tokens; ++s)
    for (int c = 0; c < width; ++c) k_t[ptrdiff_t(c) * tokens + s] = k[s * op.k_stride + c];

  for (int t = 0; t < tokens; ++t) {
    std::memset(p, 0, tokens * sizeof(float));
    for (int c = 0; c < width; ++c) {
      const float x = q[t * op.q_stride + c];
      const float* row = k_t + ptrdiff_t(c) * tokens;
      for (int s = 0; s < tokens; ++s) p[s] += x * row[s];
    }
    for (int s = 0; s < tokens; ++s) p[s] *= op.scale;
    float m = p[0];
    for (int s = 1; s < tokens; ++s) m = p[s] > m ? p[s] : m;
    float lanes[16] = {};
    for (int s = 0; s < tokens; ++s) lanes[s % 16] += p[s] = exp_nonpositive(p[s] - m);
    const float inverse_z = 1.0f / tree16(lanes);
    for (int s = 0; s < tokens; ++s) p[s] *= inverse_z;
    if (op.probabilities) {
      const ptrdiff_t row = ptrdiff_t(h) * tokens + t;
      std::memcpy(op.probabilities + b * op.probabilities_image_stride + row * op.probabilities_stride, p,
                  tokens * sizeof(float));
    }
    std::memset(o, 0, width * sizeof(float));
    for (int s = 0; s < tokens; ++s) {
      const float* row = v + s * op.v_stride;
      for (int c = 0; c < width; ++c) o[c] += p[s] * row[c];
    }
    std::memcpy(y + t * op.y_stride, o, width * sizeof(float));
  }
}

}  // namespace fewbit
