#include <algorithm>
#include <cmath>

#include "cpu/implementations.h"
#include "ops/numeric.h"

namespace fewbit {

void layernorm_codes_portable(const LayerNormCodes& op, int task, void*) {
  const int end = std::min(op.rows, (task + 1) * kLayerNormTaskRows);
  for (int t = task * kLayerNormTaskRows; t < end; ++t) {
    const uint8_t* x = op.x + t * op.x_stride;
    const auto z = [&](int i) { return (x[i] - op.offset) * (op.shift ? 1 << op.shift[i] : 1); };
    int32_t sum = 0;
    int64_t squares = 0;
    for (int i = 0; i < op.width; ++i) {
      const int32_t v = z(i);
      sum += v;
      squares += v * v;
    }
    const float v = float(op.width * squares - int64_t(sum) * sum) + op.eps;
    const float r = v > 0 ? 1.0f / std::sqrt(v) : 0.0f;

    const Encoder code = encoder_of_row(op.encode, t);
    const auto y = [&, width = float(op.width), sum = float(sum)](int i) {
      return std::fma(std::fma(float(z(i)), width, -sum) * r, op.gamma[i], op.beta[i]);
    };
    if (op.y_float)
      for (int i = 0; i < op.width; ++i) op.y_float[t * op.y_float_stride + i] = y(i);
    else
      for (int i = 0; i < op.width; ++i) op.y_codes[t * op.y_codes_stride + i] = encode(code, y(i), i);
  }
}

}  // namespace fewbit
