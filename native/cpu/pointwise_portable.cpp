#include <algorithm>

#include "cpu/implementations.h"
#include "ops/numeric.h"

namespace fewbit {
namespace {

// Few enough elements for the stack, so that y may lie on any of the operands.
constexpr int kChunk = 64;

void evaluate(Function function, const float* x, float* v, int count) {
  switch (function) {
    case Function::identity:
      std::copy_n(x, count, v);
      return;
    case Function::gelu:
      for (int i = 0; i < count; ++i) v[i] = gelu(x[i]);
      return;
    case Function::gelu_slope:
      for (int i = 0; i < count; ++i) v[i] = gelu_slope(x[i]);
  }
}

}  // namespace

void pointwise_portable(const Pointwise& op, int task, void*) {
  const int end = std::min(op.rows, (task + 1) * kPointwiseTaskRows);
  for (ptrdiff_t t = ptrdiff_t(task) * kPointwiseTaskRows; t < end; ++t)
    for (int c = 0; c < op.width; c += kChunk) {
      const int count = std::min(kChunk, op.width - c);
      float v[kChunk];
      evaluate(op.function, op.x + t * op.x_stride + c, v, count);
      if (op.gain)
        for (int i = 0; i < count; ++i) v[i] = v[i] * op.gain[c + i];
      if (op.factor)
        for (int i = 0; i < count; ++i) v[i] = v[i] * op.factor[t * op.factor_stride + c + i];
      if (op.residual)
        for (int i = 0; i < count; ++i) v[i] = v[i] + op.residual[t * op.residual_stride + c + i];
      if (op.y_float)
        std::copy_n(v, count, op.y_float + t * op.y_float_stride + c);
      else
        for (int i = 0; i < count; ++i) op.y_codes[t * op.y_codes_stride + c + i] = encode(op.encode, v[i]);
    }
}

}  // namespace fewbit
