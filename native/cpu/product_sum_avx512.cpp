// ProductSum on AVX-512: a block of 6 x 4 vectors of sums, to which each row adds its outer product.
#include "cpu/implementations.h"
#include "cpu/linear_epilogue_avx512.h"

namespace fewbit {
namespace {

constexpr int kRows = 6;

// R rows of sums from column `i` of a, and the columns of b from `j` on: P panels of 16, the last of which may be cut.
template <int R, int P>
void multiply(const ProductSum& op, int i, int j, int columns) {
  __m512 sums[R][P];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) sums[r][p] = _mm512_setzero_ps();
  const __mmask16 last = Panel(0, columns - 16 * (P - 1)).mask;
  const float *a = op.a + i, *b = op.b + j;
  for (int t = 0; t < op.rows; ++t, a += op.a_stride, b += op.b_stride) {
    __m512 row[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) row[p] = p + 1 < P ? _mm512_loadu_ps(b + 16 * p) : _mm512_maskz_loadu_ps(last, b + 16 * p);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const __m512 value = _mm512_set1_ps(a[r]);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) sums[r][p] = _mm512_fmadd_ps(value, row[p], sums[r][p]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      float* sum = op.sum + ptrdiff_t(i + r) * op.b_width + j + 16 * p;
      const __mmask16 mask = p + 1 < P ? __mmask16(0xFFFF) : last;
      _mm512_mask_storeu_ps(sum, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, sum), sums[r][p]));
    }
}

using Multiply = void (*)(const ProductSum&, int, int, int);

template <int P>
Multiply multiply_of(int rows) {
  constexpr Multiply table[] = {multiply<1, P>, multiply<2, P>, multiply<3, P>, multiply<4, P>, multiply<5, P>, multiply<6, P>};
  return table[rows - 1];
}

Multiply multiply_of(int rows, int panels) {
  static_assert(kProductSumColumns == 64, "four panels");
  switch (panels) {
    case 1:
      return multiply_of<1>(rows);
    case 2:
      return multiply_of<2>(rows);
    case 3:
      return multiply_of<3>(rows);
    default:
      return multiply_of<4>(rows);
  }
}

}  // namespace

void product_sum_avx512(const ProductSum& op, int task, void*) {
  const ProductSumTile tile = product_sum_tile(op.a_width, op.b_width, task);
  const int columns = tile.column_end - tile.column_begin;
  for (int i = tile.row_begin; i < tile.row_end; i += kRows) {
    const int rows = tile.row_end - i < kRows ? tile.row_end - i : kRows;
    multiply_of(rows, ceil_div(columns, 16))(op, i, tile.column_begin, columns);
  }
}

}  // namespace fewbit
