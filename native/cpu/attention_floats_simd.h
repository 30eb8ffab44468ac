// Products and softmax of float attention in blocks of six rows. Include simd_avx512.h or simd_avx2.h first.
#pragma once

#include <math.h>  // not <cmath>: its inline functions would be compiled with these flags for everybody

#include "cpu/attention_sizes.h"

namespace fewbit {
namespace {

constexpr int kAttentionRows = kRegisterRows;

// by_rows: y[r] = sum over steps of x[r][step] b[step]. by_columns: y[r] += sum over steps of x[step][r] b[step].
enum class Order { by_rows, by_columns };

template <Order kOrder, int P>
FEWBIT_NOINLINE void multiply_panels(const float* x, ptrdiff_t x_stride, const float* b, ptrdiff_t b_stride, int steps, float* y,
                                     ptrdiff_t y_stride) {
  F32x16 sums[kAttentionRows][P];
#pragma GCC unroll 6
  for (int r = 0; r < kAttentionRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < P; ++n) sums[r][n] = kOrder == Order::by_rows ? set16(0.0f) : load(y + r * y_stride + 16 * n);
  for (int step = 0; step < steps; ++step, b += b_stride) {
    F32x16 columns[P];
#pragma GCC unroll 4
    for (int n = 0; n < P; ++n) columns[n] = load(b + 16 * n);
#pragma GCC unroll 6
    for (int r = 0; r < kAttentionRows; ++r) {
      const F32x16 row = set16(kOrder == Order::by_rows ? x[r * x_stride + step] : x[step * x_stride + r]);
#pragma GCC unroll 4
      for (int n = 0; n < P; ++n) sums[r][n] = fma(row, columns[n], sums[r][n]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kAttentionRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < P; ++n) store(y + r * y_stride + 16 * n, sums[r][n]);
}

// All columns, in multiples of 16; b and y have rows of `columns`.
template <Order kOrder, int P = kRegisterPanels>
void multiply(const float* x, ptrdiff_t x_stride, const float* b, int columns, int steps, float* y, int n = 0) {
  for (; n + 16 * P <= columns; n += 16 * P) multiply_panels<kOrder, P>(x, x_stride, b + n, columns, steps, y + n, columns);
  if constexpr (P > 1)
    if (n < columns) multiply<kOrder, P - 1>(x, x_stride, b, columns, steps, y, n);
}

// One row of scores to probabilities, in place: those of a query, whose row of the bias this is. Lanes behind the last key and
// keys of other regions get -infinity, whose exponential is 0. kWindowed: there may be a bias or regions.
template <bool kWindowed>
FEWBIT_NOINLINE void softmax(float* s, int tokens, float scale, const float* bias, const uint8_t* regions, int query) {
  const F32x16 factor = set16(scale), nowhere = set16(-INFINITY);
  F32x16 most = nowhere;
  for (int i = 0; i < tokens; i += 16) {
    const Lanes lanes(tokens - i);
    F32x16 logits = mul(load(s + i), factor);
    if (kWindowed && bias) logits = add(logits, load(bias + i, lanes));
    if (kWindowed && regions)
      logits = select(equal_bytes(lanes, regions + i, regions[query]), logits, nowhere);
    else if (!lanes.full())
      logits = select(lanes.mask(), logits, nowhere);
    store(s + i, logits);
    most = max(most, logits);
  }
  const F32x16 m = set16(reduce_max(most));
  F32x16 z = set16(0.0f);
  for (int i = 0; i < tokens; i += 16) {
    const F32x16 e = exp_nonpositive(sub(load(s + i), m));
    z = add(z, e);
    store(s + i, e);
  }
  const F32x16 inverse_z = set16(1.0f / tree16(z));
  for (int i = 0; i < tokens; i += 16) store(s + i, mul(load(s + i), inverse_z));
}

// bias: null, or [tokens][tokens]; regions: null, or [tokens].
inline void softmax(float* s, int tokens, float scale, const float* bias, const uint8_t* regions, int query) {
  const float* row = bias ? bias + ptrdiff_t(query) * tokens : nullptr;
  (row || regions ? softmax<true> : softmax<false>)(s, tokens, scale, row, regions, query);
}

}  // namespace
}  // namespace fewbit
