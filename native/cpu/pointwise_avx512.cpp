// One vector at a time; the operations are those of ops/pointwise.h, so the bits are the reference's.
#include "cpu/implementations.h"
#include "cpu/linear_epilogue_avx512.h"
#include "ops/pointwise.h"

namespace fewbit {

void pointwise_avx512(const Pointwise& op, int task, void*) {
  const int first = task * kPointwiseTaskRows;
  const int end = first + kPointwiseTaskRows < op.rows ? first + kPointwiseTaskRows : op.rows;
  const EncoderF32x16 encode(op.encode);
  for (ptrdiff_t t = first; t < end; ++t)
    for (int c = 0; c < op.width; c += 16) {
      const Panel panel(c, op.width - c);
      __m512 y = load(op.x + t * op.x_stride + c, panel);
      if (op.function == Function::gelu) y = gelu_f32x16(y);
      if (op.function == Function::gelu_slope) y = gelu_slope_f32x16(y);
      if (op.gain) y = _mm512_mul_ps(y, load(op.gain + c, panel));
      if (op.factor) y = _mm512_mul_ps(y, load(op.factor + t * op.factor_stride + c, panel));
      if (op.residual) y = _mm512_add_ps(y, load(op.residual + t * op.residual_stride + c, panel));
      if (op.y_float)
        store(op.y_float + t * op.y_float_stride + c, panel, y);
      else
        store(op.y_codes + t * op.y_codes_stride + c, panel, encode(y));
    }
}

}  // namespace fewbit
