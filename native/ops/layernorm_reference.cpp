#include <cmath>
#include <vector>

#include "ops/layernorm.h"
#include "ops/numeric.h"

namespace fewbit {

void layernorm_reference(const LayerNorm& op) {
  for (int t = 0; t < op.rows; ++t) {
    const float* x = op.x + t * op.x_stride;
    float sums[16] = {}, squares[16] = {};
    for (int i = 0; i < op.width; ++i) sums[i % 16] += x[i];
    const float mean = tree16(sums) / float(op.width);
    for (int i = 0; i < op.width; ++i) {
      const float d = x[i] - mean;
      squares[i % 16] = std::fma(d, d, squares[i % 16]);
    }
    const float r = 1.0f / std::sqrt(tree16(squares) / float(op.width) + op.eps);
    for (int i = 0; i < op.width; ++i) {
      const float y = std::fma((x[i] - mean) * r, op.gamma[i], op.beta[i]);
      if (op.y_float)
        op.y_float[t * op.y_float_stride + i] = y;
      else
        op.y_codes[t * op.y_codes_stride + i] = encode(encoder_of_row(op.encode, t), y, i);
    }
  }
}

void layernorm_codes_reference(const LayerNormCodes& op) {
  std::vector<int32_t> z(op.width);
  for (int t = 0; t < op.rows; ++t) {
    const uint8_t* x = op.x + t * op.x_stride;
    int64_t sum = 0, squares = 0;
    for (int i = 0; i < op.width; ++i) {
      z[i] = (x[i] - op.offset) * (1 << (op.shift ? op.shift[i] : 0));
      sum += z[i];
      squares += int64_t(z[i]) * z[i];
    }
    const float v = float(op.width * squares - sum * sum) + op.eps;
    const float r = v > 0 ? 1.0f / std::sqrt(v) : 0.0f;
    for (int i = 0; i < op.width; ++i) {
      const float centred = std::fma(float(z[i]), float(op.width), -float(sum));
      const float y = std::fma(centred * r, op.gamma[i], op.beta[i]);
      if (op.y_float)
        op.y_float[t * op.y_float_stride + i] = y;
      else
        op.y_codes[t * op.y_codes_stride + i] = encode(encoder_of_row(op.encode, t), y, i);
    }
  }
}

}  // namespace fewbit
