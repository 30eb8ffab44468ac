// LayerNorm over rows: y = (x - mean) / sqrt(var + eps) * gamma + beta, of floats or of codes, to floats or to codes.
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

// Of codes. The statistics are integers, and exact; with C = width and x = Z * step:
//   Z[i] = (x[i] - offset) << shift[i]           (times 2^shift; level 0 stays 0)
//   S1   = sum Z[i],  S2 = sum Z[i]^2,  V = C * S2 - S1^2          V is C^2 times the variance of Z
//   v    = float(V) + eps                                          one rounding of the int64, one of the sum
//   r    = 1 / sqrt(v); 0 when v is 0
//   y    = fma(fma(float(Z[i]), float(C), -float(S1)) * r, gamma[i], beta[i])
// Bounds, from |Z| <= 2^14 and C <= 2^16: |S1| <= 2^30, S2 <= 2^44, C * S2 and S1^2 <= 2^60.
struct LayerNormCodes {
  int rows, width;  // width <= kLayerNormWidth
  const uint8_t* x;
  ptrdiff_t x_stride;    // bytes
  int offset;            // 0 or 128
  const uint8_t* shift;  // [width], at most 7 with offset 128 and 6 with offset 0; or null for no shifts
  const float* gamma;    // [width]
  const float* beta;     // [width]
  float eps;             // width^2 * eps / step^2
  // Exactly one is set.
  float* y_float;
  ptrdiff_t y_float_stride;
  uint8_t* y_codes;
  ptrdiff_t y_codes_stride;
  Encoder encode;
};

constexpr int kLayerNormWidth = 1 << 16;

constexpr int kLayerNormTaskRows = 32;
static constexpr int layernorm_tasks(int rows) { return (rows + kLayerNormTaskRows - 1) / kLayerNormTaskRows; }

void layernorm_reference(const LayerNorm& op);
void layernorm_codes_reference(const LayerNormCodes& op);

}  // namespace fewbit
