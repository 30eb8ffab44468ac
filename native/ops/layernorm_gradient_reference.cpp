#include "ops/layernorm_gradient.h"

#include <cmath>

namespace fewbit {

void layernorm_gradient_reference(const LayerNormGradient& op) {
  for (int t = 0; t < op.rows; ++t) {
    const float* x = op.x + t * op.x_stride;
    const float* g = op.gradient + t * op.gradient_stride;
    double mean = 0, variance = 0, sum_h = 0, sum_hn = 0;
    for (int i = 0; i < op.width; ++i) mean += double(x[i]) / op.width;
    for (int i = 0; i < op.width; ++i) variance += (x[i] - mean) * (x[i] - mean) / op.width;
    const double r = 1 / std::sqrt(variance + op.eps);
    const auto h = [&](int i) { return double(g[i]) * op.gamma[i]; };
    const auto n = [&](int i) { return (x[i] - mean) * r; };
    for (int i = 0; i < op.width; ++i) sum_h += h(i), sum_hn += h(i) * n(i);
    for (int i = 0; i < op.width; ++i) {
      const double y = r * (h(i) - sum_h / op.width - n(i) * sum_hn / op.width);
      const double other = op.residual ? op.residual[t * op.residual_stride + i] : 0;
      op.y[t * op.y_stride + i] = static_cast<float>(y + other);
    }
  }
}

}  // namespace fewbit
