// Element by element: what stands between matrix products and could not move into one of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/encode.h"

namespace fewbit {

enum class Function : int { identity = 0, gelu = 1, gelu_slope = 2 };

// For row t and column c, all in this order, in float32 with one rounding a line:
//   y = function(x[t][c])         (ops/numeric.h)
//   y = y * gain[c]               when gain is given
//   y = y * factor[t][c]          when factor is given
//   y = y + residual[t][c]        when residual is given
// and y is stored as float, or as encode(y).
struct Pointwise {
  int rows, width;
  const float* x;
  ptrdiff_t x_stride;  // floats, as all strides of floats
  Function function;
  const float* gain;    // [width], or null
  const float* factor;  // or null
  ptrdiff_t factor_stride;
  const float* residual;  // or null
  ptrdiff_t residual_stride;
  // Exactly one is set. y_float may be the rows of x, factor or residual.
  float* y_float;
  ptrdiff_t y_float_stride;
  uint8_t* y_codes;
  ptrdiff_t y_codes_stride;  // bytes
  Encoder encode;
};

constexpr int kPointwiseTaskRows = 32;
static constexpr int pointwise_tasks(int rows) { return (rows + kPointwiseTaskRows - 1) / kPointwiseTaskRows; }

void pointwise_reference(const Pointwise& op);

}  // namespace fewbit
