// Pointwise on 16 columns at a time; the operations are those of ops/pointwise.h, so the bits are the reference's. Include
// simd_avx512.h or simd_avx2.h first.
#pragma once

#include "cpu/columns_simd.h"
#include "ops/pointwise.h"

namespace fewbit {
namespace {

inline void pointwise(const Pointwise& op, int task) {
  const int first = task * kPointwiseTaskRows;
  const int end = first + kPointwiseTaskRows < op.rows ? first + kPointwiseTaskRows : op.rows;
  const EncoderF32x16 encode(op.encode);
  for (ptrdiff_t t = first; t < end; ++t)
    for_columns(op.width, [&](int c, const Lanes& lanes) {
      F32x16 y = load(op.x + t * op.x_stride + c, lanes);
      if (op.function == Function::gelu) y = gelu(y);
      if (op.function == Function::gelu_slope) y = gelu_slope(y);
      if (op.gain) y = mul(y, load(op.gain + c, lanes));
      if (op.factor) y = mul(y, load(op.factor + t * op.factor_stride + c, lanes));
      if (op.residual) y = add(y, load(op.residual + t * op.residual_stride + c, lanes));
      if (op.y_float)
        store(op.y_float + t * op.y_float_stride + c, lanes, y);
      else
        store(op.y_codes + t * op.y_codes_stride + c, lanes, encode(y));
    });
}

}  // namespace
}  // namespace fewbit
