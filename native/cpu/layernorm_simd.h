// The contract's tree is one accumulator of 16 lanes a row, whose additions wait for each other (3 to 4 cycles); four rows at
// a time fill the pipes. Include simd_avx512.h or simd_avx2.h first.
#pragma once

#include <math.h>  // not <cmath>: its inline functions would be compiled with these flags for everybody

#include "cpu/columns_simd.h"
#include "cpu/row_encoders_simd.h"
#include "ops/layernorm.h"

namespace fewbit {
namespace {

constexpr int kNormRows = 4;

// Rows t..t + kRows; a lane that is missing behind the width adds +0, which changes no sum that began at +0.
template <int kRows>
void normalise(const LayerNorm& op, const EncoderF32x16& encode, ptrdiff_t t) {
  const float* x = op.x + t * op.x_stride;
  F32x16 lanes[kRows], mean[kRows], r[kRows];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) lanes[i] = set16(0.0f);
  for_columns(op.width, [&](int c, const Lanes& columns) {
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) lanes[i] = add(lanes[i], load(x + i * op.x_stride + c, columns));
  });
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    mean[i] = set16(tree16(lanes[i]) / float(op.width));
    lanes[i] = set16(0.0f);
  }
  for_columns(op.width, [&](int c, const Lanes& columns) {
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      F32x16 d = sub(load(x + i * op.x_stride + c, columns), mean[i]);
      if (!columns.full()) d = select(columns.mask(), d, set16(0.0f));
      lanes[i] = fma(d, d, lanes[i]);
    }
  });
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) r[i] = set16(1.0f / sqrtf(tree16(lanes[i]) / float(op.width) + op.eps));

  for_columns(op.width, [&](int c, const Lanes& columns) {
    const F32x16 gamma = load(op.gamma + c, columns), beta = load(op.beta + c, columns);
    const F32x16 inverse = encode.inverse_steps(c);
    F32x16 y[kRows];
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) y[i] = fma(mul(sub(load(x + i * op.x_stride + c, columns), mean[i]), r[i]), gamma, beta);
    if (op.y_float) {
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) store(op.y_float + (t + i) * op.y_float_stride + c, columns, y[i]);
    } else if constexpr (kRows == 4) {
      store_encoded(encode, y, inverse, op.y_codes + t * op.y_codes_stride + c, op.y_codes_stride, columns);
    } else {
      store(op.y_codes + t * op.y_codes_stride + c, columns, encode(y[0], inverse));
    }
  });
}

FEWBIT_NOINLINE void normalise_run(const LayerNorm& op, const Encoder& code, int t, int end) {
  const EncoderF32x16 encode(code);
  for (; t + kNormRows <= end; t += kNormRows) normalise<kNormRows>(op, encode, t);
  for (; t < end; ++t) normalise<1>(op, encode, t);
}

inline void layernorm(const LayerNorm& op, int task) {
  const int first = task * kLayerNormTaskRows;
  const int behind = first + kLayerNormTaskRows < op.rows ? first + kLayerNormTaskRows : op.rows;
  FineRows(op.encode).for_runs(first, behind, [&](int t, int end) { normalise_run(op, encoder_of_row(op.encode, t), t, end); });
}

}  // namespace
}  // namespace fewbit
