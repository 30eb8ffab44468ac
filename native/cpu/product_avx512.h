// Products of bytes on AVX-512 VNNI, of some rows with some vectors of columns.
//
//   vpdpbusd zmm: 64 products u8 x s8 added in fours to 16 int32, two a cycle, latency 4 or 5 (Zen 4, Ice Lake: one a cycle). A
//   block of 6 rows x 4 vectors keeps 24 sums in registers and reads 4 vectors and 6 broadcasts for 24 products: loads are not
//   the limit, and far more sums are in flight than the latency asks for.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fewbit {
namespace {

constexpr int kProductRows = 6;
constexpr int kProductVectors = 4;

inline __m512i broadcast_dword(const uint8_t* x) {
  int32_t v;
  std::memcpy(&v, x, 4);
  return _mm512_set1_epi32(v);
}

// Columns of a product, four consecutive summands of 16 of them in a vector, signed. Two members, so that they are passed in
// registers.

// The vectors of a step are neighbours.
struct NearColumns {
  const uint8_t* at;
  ptrdiff_t step;
  const uint8_t* vector(ptrdiff_t i, int p) const { return at + i * step + 64 * p; }
  NearColumns behind(int vectors) const { return {at + 64 * vectors, step}; }
};

// The steps of a vector are neighbours.
struct PanelColumns {
  const uint8_t* at;
  ptrdiff_t panel;
  const uint8_t* vector(ptrdiff_t i, int p) const { return at + p * panel + 64 * i; }
};

// y[r][16 p + n] = sum over steps of the four bytes at x + r x_row + i x_step, unsigned, times those of column 16 p + n. Every
// loop over the sums is unrolled, or gcc 12 keeps them in memory.
template <class Columns, int R, int P>
void multiply(const uint8_t* x, ptrdiff_t x_row, ptrdiff_t x_step, Columns columns, int steps, int32_t* y, ptrdiff_t y_stride) {
  __m512i sum[R][P];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) sum[r][p] = _mm512_setzero_si512();
  }
  for (ptrdiff_t i = 0; i < steps; ++i, x += x_step) {
    __m512i column[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) column[p] = _mm512_loadu_si512(columns.vector(i, p));
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const __m512i dword = broadcast_dword(x + r * x_row);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) sum[r][p] = _mm512_dpbusd_epi32(sum[r][p], dword, column[p]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) _mm512_store_si512(y + r * y_stride + 16 * p, sum[r][p]);
  }
}

template <class Columns>
using Multiply = void (*)(const uint8_t*, ptrdiff_t, ptrdiff_t, Columns, int, int32_t*, ptrdiff_t);

template <class Columns, int P>
Multiply<Columns> multiply_of(int rows) {
  constexpr Multiply<Columns> table[] = {multiply<Columns, 1, P>, multiply<Columns, 2, P>, multiply<Columns, 3, P>,
                                         multiply<Columns, 4, P>, multiply<Columns, 5, P>, multiply<Columns, 6, P>};
  return table[rows - 1];
}

// rows: 1..kProductRows, panels: 1..kProductVectors.
template <class Columns>
Multiply<Columns> multiply_of(int rows, int panels) {
  switch (panels) {
    case 1:
      return multiply_of<Columns, 1>(rows);
    case 2:
      return multiply_of<Columns, 2>(rows);
    case 3:
      return multiply_of<Columns, 3>(rows);
    default:
      return multiply_of<Columns, kProductVectors>(rows);
  }
}

}  // namespace
}  // namespace fewbit
