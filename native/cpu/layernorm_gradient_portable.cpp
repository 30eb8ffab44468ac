#include <algorithm>
#include <cmath>

#include "cpu/implementations.h"
#include "ops/numeric.h"

namespace fewbit {
namespace {

// The sum of term(i) in sixteen lanes, which is what a compiler vectorises.
template <class Term>
float sum(int width, Term term) {
  float lanes[16] = {};
  int i = 0;
  for (; i + 16 <= width; i += 16)
    for (int j = 0; j < 16; ++j) lanes[j] += term(i + j);
  for (int j = 0; i < width; ++i, ++j) lanes[j] += term(i);
  return tree16(lanes);
}

}  // namespace

void layernorm_gradient_portable(const LayerNormGradient& op, int task, void*) {
  const int end = std::min(op.rows, (task + 1) * kLayerNormGradientTaskRows), width = op.width;
  const float* gamma = op.gamma;
  for (ptrdiff_t t = ptrdiff_t(task) * kLayerNormGradientTaskRows; t < end; ++t) {
    const float* x = op.x + t * op.x_stride;
    const float* g = op.gradient + t * op.gradient_stride;
    const float mean = sum(width, [=](int i) { return x[i]; }) / float(width);
    const float variance = sum(width, [=](int i) { return (x[i] - mean) * (x[i] - mean); }) / float(width);
    const float r = 1.0f / std::sqrt(variance + op.eps);
    const float mean_h = sum(width, [=](int i) { return g[i] * gamma[i]; }) / float(width);
    const float slope = sum(width, [=](int i) { return g[i] * gamma[i] * (x[i] - mean); }) / float(width) * r * r;
    const auto y = [=](int i) { return r * (g[i] * gamma[i] - mean_h - (x[i] - mean) * slope); };
    float* out = op.y + t * op.y_stride;
    if (op.residual) {
      const float* residual = op.residual + t * op.residual_stride;
      for (int i = 0; i < width; ++i) out[i] = y(i) + residual[i];
    } else {
      for (int i = 0; i < width; ++i) out[i] = y(i);
    }
  }
}

}  // namespace fewbit
