#include "ops/numeric.h"
#include "ops/pointwise.h"

namespace fewbit {

void pointwise_reference(const Pointwise& op) {
  for (int t = 0; t < op.rows; ++t) {
    for (int c = 0; c < op.width; ++c) {
      float y = op.x[t * op.x_stride + c];
      if (op.function == Function::gelu) y = gelu(y);
      if (op.function == Function::gelu_slope) y = gelu_slope(y);
      if (op.gain) y = y * op.gain[c];
      if (op.factor) y = y * op.factor[t * op.factor_stride + c];
      if (op.residual) y = y + op.residual[t * op.residual_stride + c];
      if (op.y_float)
        op.y_float[t * op.y_float_stride + c] = y;
      else
        op.y_codes[t * op.y_codes_stride + c] = encode(op.encode, y);
    }
  }
}

}  // namespace fewbit
