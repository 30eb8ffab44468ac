#include <cmath>
#include <vector>

#include "ops/attention.h"
#include "ops/numeric.h"

namespace fewbit {
namespace {

bool attends(const AttentionPlace& place, int query, int key) {
  return !place.regions || place.regions[query] == place.regions[key];
}

// Scores of query t to e.
void exponentials(const AttentionCodes& op, const AttentionPlace& place, int t, const std::vector<int32_t>& scores,
                  std::vector<float>& e) {
  const float scale = op.logit_scale[place.head];
  if (!attention_has_logits(op)) {
    int32_t m = scores[0];
    for (int32_t score : scores) m = score > m ? score : m;
    for (int s = 0; s < op.tokens; ++s) e[s] = exp_nonpositive(float(scores[s] - m) * scale);
    return;
  }
  const bool coded = op.logit_inverse_step > 0;
  float m = -INFINITY;
  for (int s = 0; s < op.tokens; ++s) {
    e[s] = std::fma(float(scores[s]), scale, place.bias ? place.bias[ptrdiff_t(t) * op.tokens + s] : 0.0f);
    if (coded) e[s] = float(round_even(clamp(e[s] * op.logit_inverse_step, -128.0f, 127.0f)));
    if (attends(place, t, s) && e[s] > m) m = e[s];
  }
  for (int s = 0; s < op.tokens; ++s)
    e[s] = attends(place, t, s) ? exp_nonpositive((e[s] - m) * (coded ? op.logit_step : 1.0f)) : 0.0f;
}

}  // namespace

void attention_codes_reference(const AttentionCodes& op) {
  std::vector<int32_t> scores(op.tokens);
  std::vector<float> e(op.tokens);
  std::vector<uint8_t> p(op.tokens);
  for (int task = 0; task < attention_tasks(op); ++task) {
    const AttentionPlace place = attention_place(op, task);
    const ptrdiff_t b = place.image, h = place.head, column = h * op.head_width;
    const auto q = [&](int t) { return op.q + b * op.q_image_stride + attention_row(place.rows, t) * op.q_stride + column; };
    const auto k = [&](int s) { return op.k + b * op.k_image_stride + attention_row(place.rows, s) * op.k_stride + column; };
    const auto v = [&](int s) { return op.v + b * op.v_image_stride + attention_row(place.rows, s) * op.v_stride + column; };
    const auto y = [&](int t) { return op.y + b * op.y_image_stride + attention_row(place.rows, t) * op.y_stride + column; };
    for (int t = 0; t < op.tokens; ++t) {
      const ptrdiff_t row = attention_row(place.rows, t);
      Encoder encode_p = encoder_of_row(op.encode_p, row);
      encode_p.inverse_step = op.p_inverse_step[h];
      for (int s = 0; s < op.tokens; ++s) {
        scores[s] = 0;
        for (int c = 0; c < op.head_width; ++c) scores[s] += (q(t)[c] - 128) * (k(s)[c] - 128);
      }
      exponentials(op, place, t, scores, e);
      float scale = op.output_scale[h];
      if (op.relative) {
        int32_t sum = 0;
        for (int s = 0; s < op.tokens; ++s) sum += p[s] = encode(encode_p, e[s]);
        scale = relative_scale(scale, sum);
      } else {
        float lanes[16] = {};
        for (int s = 0; s < op.tokens; ++s) lanes[s % 16] += e[s];
        const float inverse_z = 1.0f / tree16(lanes);
        for (int s = 0; s < op.tokens; ++s) p[s] = encode(encode_p, e[s] * inverse_z);
      }
      for (int c = 0; c < op.head_width; ++c) {
        int32_t o = 0;
        for (int s = 0; s < op.tokens; ++s) o += p[s] * (v(s)[c] - 128);
        y(t)[c] = encode(encoder_of_row(op.encode, row), float(o) * scale);
      }
    }
  }
}

void attention_f32_reference(const AttentionF32& op) {
  std::vector<float> p(op.tokens);
  for (int task = 0; task < attention_tasks(op); ++task) {
    const AttentionPlace place = attention_place(op, task);
    const ptrdiff_t b = place.image, h = place.head, column = h * op.head_width;
    const auto q = [&](int t) { return op.q + b * op.q_image_stride + attention_row(place.rows, t) * op.q_stride + column; };
    const auto k = [&](int s) { return op.k + b * op.k_image_stride + attention_row(place.rows, s) * op.k_stride + column; };
    const auto v = [&](int s) { return op.v + b * op.v_image_stride + attention_row(place.rows, s) * op.v_stride + column; };
    const auto y = [&](int t) { return op.y + b * op.y_image_stride + attention_row(place.rows, t) * op.y_stride + column; };
    for (int t = 0; t < op.tokens; ++t) {
      float m = -INFINITY, z = 0;
      for (int s = 0; s < op.tokens; ++s) {
        float score = 0;
        for (int c = 0; c < op.head_width; ++c) score += q(t)[c] * k(s)[c];
        p[s] = score * op.scale[h] + (place.bias ? place.bias[ptrdiff_t(t) * op.tokens + s] : 0.0f);
        if (attends(place, t, s) && p[s] > m) m = p[s];
      }
      for (int s = 0; s < op.tokens; ++s) z += p[s] = attends(place, t, s) ? exp_nonpositive(p[s] - m) : 0.0f;
      for (float& x : p) x /= z;
      if (op.probabilities) {
        const ptrdiff_t row = (ptrdiff_t(place.window) * op.heads + h) * op.tokens + t;
        float* kept = op.probabilities + b * op.probabilities_image_stride + row * op.probabilities_stride;
        for (int s = 0; s < op.tokens; ++s) kept[s] = p[s];
      }
      for (int c = 0; c < op.head_width; ++c) {
        float o = 0;
        for (int s = 0; s < op.tokens; ++s) o += p[s] * v(s)[c];
        y(t)[c] = o;
      }
    }
  }
}

}  // namespace fewbit
