#include "ops/attention_gradient.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace fewbit {
namespace {

// One head of one window of one image.
struct Head {
  const AttentionGradient& op;
  AttentionPlace place;

  ptrdiff_t at(int token, ptrdiff_t image_stride, ptrdiff_t stride) const {
    return place.image * image_stride + attention_row(place.rows, token) * stride + ptrdiff_t(place.head) * op.head_width;
  }
  double q(int t, int c) const { return op.q[at(t, op.q_image_stride, op.q_stride) + c]; }
  double k(int s, int c) const { return op.k[at(s, op.k_image_stride, op.k_stride) + c]; }
  double v(int s, int c) const { return op.v[at(s, op.v_image_stride, op.v_stride) + c]; }
  double gradient(int t, int c) const { return op.gradient[at(t, op.gradient_image_stride, op.gradient_stride) + c]; }
  // part 0, 1, 2: dq, dk, dv
  float& y(int part, int t, int c) const {
    return op.y[at(t, op.y_image_stride, op.y_stride) + ptrdiff_t(part) * op.heads * op.head_width + c];
  }
  double scale() const { return op.scale[place.head]; }

  // Rows t of P and dP.
  void probabilities(int t, double* p, double* dp) const {
    double most = -INFINITY, sum = 0;
    for (int s = 0; s < op.tokens; ++s) {
      p[s] = place.bias ? place.bias[ptrdiff_t(t) * op.tokens + s] : 0;
      dp[s] = 0;
      for (int c = 0; c < op.head_width; ++c) p[s] += scale() * q(t, c) * k(s, c), dp[s] += gradient(t, c) * v(s, c);
      if (place.regions && place.regions[s] != place.regions[t]) p[s] = -INFINITY;
      most = std::max(most, p[s]);
    }
    for (int s = 0; s < op.tokens; ++s) sum += p[s] = std::exp(p[s] - most);
    for (int s = 0; s < op.tokens; ++s) p[s] /= sum;
  }
};

}  // namespace

void attention_gradient_reference(const AttentionGradient& op) {
  const int tokens = op.tokens;
  std::vector<double> p(size_t(tokens) * tokens), dp(p), ds(p);
  for (int task = 0; task < attention_tasks(op); ++task) {
    const Head h{op, attention_place(op, task)};
    for (int t = 0; t < tokens; ++t) {
      const size_t row = size_t(t) * tokens;
      h.probabilities(t, &p[row], &dp[row]);
      double mean = 0;
      for (int s = 0; s < tokens; ++s) mean += p[row + s] * dp[row + s];
      for (int s = 0; s < tokens; ++s) ds[row + s] = p[row + s] * (dp[row + s] - mean);
      if (!op.probabilities) continue;
      const ptrdiff_t kept = (ptrdiff_t(h.place.window) * op.heads + h.place.head) * tokens + t;
      float* out = op.probabilities + h.place.image * op.probabilities_image_stride + kept * op.probabilities_stride;
      for (int s = 0; s < tokens; ++s) out[s] = static_cast<float>(dp[row + s]);
    }
    for (int t = 0; t < tokens; ++t)
      for (int c = 0; c < op.head_width; ++c) {
        double dq = 0, dk = 0, dv = 0;
        for (int s = 0; s < tokens; ++s) {
          const size_t forth = size_t(t) * tokens + s, back = size_t(s) * tokens + t;
          dq += ds[forth] * h.k(s, c);
          dk += ds[back] * h.q(s, c);
          dv += p[back] * h.gradient(s, c);
        }
        h.y(0, t, c) = static_cast<float>(h.scale() * dq);
        h.y(1, t, c) = static_cast<float>(h.scale() * dk);
        h.y(2, t, c) = static_cast<float>(dv);
      }
  }
}

}  // namespace fewbit
