// ProductSum: a block of six rows of sums and as many panels as the registers hold, to which each row adds its outer product.
// Include simd_avx512.h or simd_avx2.h first.
#pragma once

#include "format/packed_weight.h"
#include "ops/product_sum.h"

namespace fewbit {
namespace {

// R rows of sums from column `i` of a, and the columns of b from `j` on: P panels of 16, the last of which may be cut.
template <int R, int P>
void multiply(const ProductSum& op, int i, int j, int columns) {
  F32x16 sums[R][P];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) sums[r][p] = set16(0.0f);
  const Lanes last(columns - 16 * (P - 1));
  const float *a = op.a + i, *b = op.b + j;
  for (int t = 0; t < op.rows; ++t, a += op.a_stride, b += op.b_stride) {
    F32x16 row[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) row[p] = p + 1 < P ? load(b + 16 * p) : load(b + 16 * p, last);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const F32x16 value = set16(a[r]);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) sums[r][p] = fma(value, row[p], sums[r][p]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      float* sum = op.sum + ptrdiff_t(i + r) * op.b_width + j + 16 * p;
      const Lanes lanes = p + 1 < P ? Lanes(16) : last;
      store(sum, lanes, add(load(sum, lanes), sums[r][p]));
    }
}

using Multiply = void (*)(const ProductSum&, int, int, int);

template <int P = kRegisterPanels>
Multiply multiply_of(int rows, int panels) {
  if constexpr (P > 1)
    if (panels < P) return multiply_of<P - 1>(rows, panels);
  static_assert(kRegisterRows == 6, "as many entries");
  constexpr Multiply table[] = {multiply<1, P>, multiply<2, P>, multiply<3, P>, multiply<4, P>, multiply<5, P>, multiply<6, P>};
  return table[rows - 1];
}

inline void product_sum(const ProductSum& op, int task) {
  constexpr int kColumns = 16 * kRegisterPanels;
  const ProductSumTile tile = product_sum_tile(op.a_width, op.b_width, task);
  for (int i = tile.row_begin; i < tile.row_end; i += kRegisterRows) {
    const int rows = tile.row_end - i < kRegisterRows ? tile.row_end - i : kRegisterRows;
    for (int j = tile.column_begin; j < tile.column_end; j += kColumns) {
      const int columns = tile.column_end - j < kColumns ? tile.column_end - j : kColumns;
      multiply_of(rows, ceil_div(columns, 16))(op, i, j, columns);
    }
  }
}

}  // namespace
}  // namespace fewbit
