#include <cmath>
#include <vector>

#include "ops/attention.h"
#include "ops/numeric.h"

namespace fewbit {

void attention_codes_reference(const AttentionCodes& op) {
  std::vector<int32_t> scores(op.tokens);
  std::vector<float> e(op.tokens);
  std::vector<uint8_t> p(op.tokens);
  for (int b = 0; b < op.images; ++b)
    for (int h = 0; h < op.heads; ++h) {
      const uint8_t* q = op.q + b * op.q_image_stride + h * op.head_width;
      const uint8_t* k = op.k + b * op.k_image_stride + h * op.head_width;
      const uint8_t* v = op.v + b * op.v_image_stride + h * op.head_width;
      uint8_t* y = op.y + b * op.y_image_stride + h * op.head_width;
      Encoder encode_p = op.encode_p;
      encode_p.inverse_step = op.p_inverse_step[h];
      for (int t = 0; t < op.tokens; ++t) {
        for (int s = 0; s < op.tokens; ++s) {
          scores[s] = 0;
          for (int c = 0; c < op.head_width; ++c) scores[s] += (q[t * op.q_stride + c] - 128) * (k[s * op.k_stride + c] - 128);
        }
        int32_t m = scores[0];
        for (int32_t score : scores) m = score > m ? score : m;
        float lanes[16] = {};
        for (int s = 0; s < op.tokens; ++s) {
          e[s] = exp_nonpositive(float(scores[s] - m) * op.logit_scale[h]);
          lanes[s % 16] += e[s];
        }
        const float inverse_z = 1.0f / tree16(lanes);
        for (int s = 0; s < op.tokens; ++s) p[s] = encode(encode_p, e[s] * inverse_z);
        for (int c = 0; c < op.head_width; ++c) {
          int32_t o = 0;
          for (int s = 0; s < op.tokens; ++s) o += p[s] * (v[s * op.v_stride + c] - 128);
          y[t * op.y_stride + c] = encode(op.encode, float(o) * op.output_scale[h]);
        }
      }
    }
}

void attention_f32_reference(const AttentionF32& op) {
  std::vector<float> p(op.tokens);
  for (int b = 0; b < op.images; ++b)
    for (int h = 0; h < op.heads; ++h) {
      const float* q = op.q + b * op.q_image_stride + h * op.head_width;
      const float* k = op.k + b * op.k_image_stride + h * op.head_width;
      const float* v = op.v + b * op.v_image_stride + h * op.head_width;
      float* y = op.y + b * op.y_image_stride + h * op.head_width;
      for (int t = 0; t < op.tokens; ++t) {
        float m = -INFINITY, z = 0;
        for (int s = 0; s < op.tokens; ++s) {
          float score = 0;
          for (int c = 0; c < op.head_width; ++c) score += q[t * op.q_stride + c] * k[s * op.k_stride + c];
          p[s] = score * op.scale;
          m = p[s] > m ? p[s] : m;
        }
        for (float& x : p) z += x = exp_nonpositive(x - m);
        for (float& x : p) x /= z;
        if (op.probabilities) {
          float* row = op.probabilities + b * op.probabilities_image_stride + (h * op.tokens + t) * op.probabilities_stride;
          for (int s = 0; s < op.tokens; ++s) row[s] = p[s];
        }
        for (int c = 0; c < op.head_width; ++c) {
          float o = 0;
          for (int s = 0; s < op.tokens; ++s) o += p[s] * v[s * op.v_stride + c];
          y[t * op.y_stride + c] = o;
        }
      }
    }
}

}  // namespace fewbit
