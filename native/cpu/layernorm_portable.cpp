#include <algorithm>
#include <cmath>

#include "cpu/implementations.h"
#include "ops/numeric.h"

namespace fewbit {

// Sixteen lanes side by side are what the contract's tree wants and what a compiler vectorises.
void layernorm_portable(const LayerNorm& op, int task, void*) {
  const int end = std::min(op.rows, (task + 1) * kLayerNormTaskRows), whole = op.width / 16 * 16;
  for (int t = task * kLayerNormTaskRows; t < end; ++t) {
    const float* x = op.x + t * op.x_stride;
    float lanes[16] = {};
    for (int i = 0; i < whole; i += 16)
      for (int j = 0; j < 16; ++j) lanes[j] += x[i + j];
    for (int i = whole; i < op.width; ++i) lanes[i - whole] += x[i];
    const float mean = tree16(lanes) / float(op.width);

    for (float& lane : lanes) lane = 0;
    const auto add_square = [mean](float& lane, float v) {
      const float d = v - mean;
      lane = std::fma(d, d, lane);
    };
    for (int i = 0; i < whole; i += 16)
      for (int j = 0; j < 16; ++j) add_square(lanes[j], x[i + j]);
    for (int i = whole; i < op.width; ++i) add_square(lanes[i - whole], x[i]);
    const float r = 1.0f / std::sqrt(tree16(lanes) / float(op.width) + op.eps);

    const Encoder code = encoder_of_row(op.encode, t);
    const auto y = [&](int i) { return std::fma((x[i] - mean) * r, op.gamma[i], op.beta[i]); };
    if (op.y_float)
      for (int i = 0; i < op.width; ++i) op.y_float[t * op.y_float_stride + i] = y(i);
    else
      for (int i = 0; i < op.width; ++i) op.y_codes[t * op.y_codes_stride + i] = encode(code, y(i), i);
  }
}

}  // namespace fewbit
