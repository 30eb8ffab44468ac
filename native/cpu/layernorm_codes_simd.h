// LayerNormCodes behind its statistics: four rows at a time share what belongs to the columns. Include simd_avx512.h or
// simd_avx2.h first.
#pragma once

#include "cpu/columns_simd.h"
#include "cpu/row_encoders_simd.h"
#include "ops/layernorm.h"

namespace fewbit {
namespace {

constexpr int kCodesRows = 4;
// Z^2 <= 2^28, a lane gets two of them from a vector: 7 vectors stay below 2^32, and then go to 64 bits.
constexpr int kSquaresVectors = 7;

// Rows t..t + kRows. Statistics<kRows>(op, x) has `sum`, S1, and `r` of each row of x. kTogether: rows are encoded together,
// which is quicker by a table, and slower without one, because four at once do not fit the registers.
template <int kRows, bool kTogether, template <int> class Statistics>
void normalise_codes(const LayerNormCodes& op, const EncoderF32x16& encode, ptrdiff_t t) {
  const uint8_t* x = op.x + t * op.x_stride;
  const Statistics<kRows> statistics(op, x);
  const F32x16 width = set16(float(op.width));
  for_columns(op.width, [&](int c, const Lanes& columns) {
    const I32x16 shift = op.shift ? load(op.shift + c, columns) : set16(0);
    const F32x16 gamma = load(op.gamma + c, columns), beta = load(op.beta + c, columns);
    const F32x16 inverse = encode.inverse_steps(c);
    [[maybe_unused]] F32x16 together[kRows];
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const I32x16 level = sub(load(x + i * op.x_stride + c, columns), set16(op.offset));
      const F32x16 centred = fma(to_floats(shift_left(level, shift)), width, set16(-statistics.sum[i]));
      const F32x16 y = fma(mul(centred, set16(statistics.r[i])), gamma, beta);
      if (kTogether)
        together[i] = y;
      else if (op.y_float)
        store(op.y_float + (t + i) * op.y_float_stride + c, columns, y);
      else
        store(op.y_codes + (t + i) * op.y_codes_stride + c, columns, encode(y, inverse));
    }
    if constexpr (kTogether)
      store_encoded(encode, together, inverse, op.y_codes + t * op.y_codes_stride + c, op.y_codes_stride, columns);
  });
}

template <template <int> class Statistics>
FEWBIT_NOINLINE void normalise_codes_run(const LayerNormCodes& op, const Encoder& code, int t, int end) {
  const EncoderF32x16 encode(code);
  if (op.y_codes && encode.by_table()) {
    for (; t + kCodesRows <= end; t += kCodesRows) normalise_codes<kCodesRows, true, Statistics>(op, encode, t);
  } else {
    for (; t + kCodesRows <= end; t += kCodesRows) normalise_codes<kCodesRows, false, Statistics>(op, encode, t);
  }
  for (; t < end; ++t) normalise_codes<1, false, Statistics>(op, encode, t);
}

template <template <int> class Statistics>
void layernorm_codes(const LayerNormCodes& op, int task) {
  const int first = task * kLayerNormTaskRows;
  const int behind = first + kLayerNormTaskRows < op.rows ? first + kLayerNormTaskRows : op.rows;
  FineRows(op.encode).for_runs(
      first, behind, [&](int t, int end) { normalise_codes_run<Statistics>(op, encoder_of_row(op.encode, t), t, end); });
}

}  // namespace
}  // namespace fewbit
