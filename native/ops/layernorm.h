// LayerNorm over rows: y = (x - mean) / sqrt(var + eps) * gamma + beta, to floats or to codes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/encode.h"

namespace fewbit {

// Sums follow one tree so that every path gives the same bits: lane j of 16 adds the elements j, j + 16, ... in order
// (from +0; missing elements are not added), and lanes are added as tree16 of ops/numeric.h says.
//   mean = tree16(x) / width;  d = x - mean;  var = tree16(d * d by fma into the lane) / width
//   r = 1 / sqrt(var + eps);   y = fma(d * r, gamma, beta)
struct LayerNorm {
  int rows, width;
  const float* x;
  ptrdiff_t x_stride;  // floats
  const float* gamma;  // [width]
  const float* beta;   // [width]
  float eps;
  // Exactly one is set.
  float* y_float;
  ptrdiff_t y_float_stride;
  uint8_t* y_codes;
  ptrdiff_t y_codes_stride;
  Encoder encode;
};

constexpr int kLayerNormTaskRows = 32;
static constexpr int layernorm_tasks(int rows) { return (rows + kLayerNormTaskRows - 1) / kLayerNormTaskRows; }

void layernorm_reference(const LayerNorm& op);

}  // namespace fewbit
