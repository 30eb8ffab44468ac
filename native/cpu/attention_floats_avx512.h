// Products and softmax of float attention in blocks of six rows. For *_avx512.cpp only.
#pragma once

#include <math.h>  // not <cmath>: its inline functions would be compiled with these flags for everybody

#include "cpu/attention_masks_avx512.h"
#include "cpu/simd_avx512.h"

namespace fewbit {
namespace {

constexpr int kAttentionRows = 6;

// by_rows: y[r] = sum over steps of x[r][step] b[step]. by_columns: y[r] += sum over steps of x[step][r] b[step].
enum class Order { by_rows, by_columns };

template <Order kOrder, int kVectors>
FEWBIT_NOINLINE void multiply(const float* x, ptrdiff_t x_stride, const float* b, ptrdiff_t b_stride, int steps, float* y,
                              ptrdiff_t y_stride) {
  __m512 sums[kAttentionRows][kVectors];
#pragma GCC unroll 6
  for (int r = 0; r < kAttentionRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n)
      sums[r][n] = kOrder == Order::by_rows ? _mm512_setzero_ps() : _mm512_load_ps(y + r * y_stride + 16 * n);
  for (int step = 0; step < steps; ++step, b += b_stride) {
    __m512 columns[kVectors];
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) columns[n] = _mm512_load_ps(b + 16 * n);
#pragma GCC unroll 6
    for (int r = 0; r < kAttentionRows; ++r) {
      const __m512 row = _mm512_set1_ps(kOrder == Order::by_rows ? x[r * x_stride + step] : x[step * x_stride + r]);
#pragma GCC unroll 4
      for (int n = 0; n < kVectors; ++n) sums[r][n] = _mm512_fmadd_ps(row, columns[n], sums[r][n]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kAttentionRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) _mm512_store_ps(y + r * y_stride + 16 * n, sums[r][n]);
}

// All columns, in multiples of 16; b and y have rows of `columns`.
template <Order kOrder>
void multiply(const float* x, ptrdiff_t x_stride, const float* b, int columns, int steps, float* y) {
  int n = 0;
  for (; n + 64 <= columns; n += 64) multiply<kOrder, 4>(x, x_stride, b + n, columns, steps, y + n, columns);
  switch ((columns - n) / 16) {
    case 3:
      multiply<kOrder, 3>(x, x_stride, b + n, columns, steps, y + n, columns);
      break;
    case 2:
      multiply<kOrder, 2>(x, x_stride, b + n, columns, steps, y + n, columns);
      break;
    case 1:
      multiply<kOrder, 1>(x, x_stride, b + n, columns, steps, y + n, columns);
      break;
  }
}

// One row of scores to probabilities, in place: those of a query, whose row of the bias this is. Lanes behind the last key and
// keys of other regions get -infinity, whose exponential is 0. kWindowed: there may be a bias or regions.
template <bool kWindowed>
FEWBIT_NOINLINE void softmax(float* s, int tokens, float scale, const float* bias, const uint8_t* regions, int query) {
  const int last = (tokens - 1) & ~15;
  const __mmask16 rest = first16(tokens - last);
  const __m512 factor = _mm512_set1_ps(scale), nowhere = _mm512_set1_ps(-INFINITY);
  __m512 most = nowhere;
  for (int i = 0; i <= last; i += 16) {
    __mmask16 attended = i == last ? rest : __mmask16(0xFFFF);
    __m512 logits = _mm512_mul_ps(_mm512_load_ps(s + i), factor);
    if (kWindowed && bias) logits = _mm512_add_ps(logits, _mm512_maskz_loadu_ps(attended, bias + i));
    if (kWindowed && regions) attended = same_region(attended, regions + i, regions[query]);
    logits = _mm512_mask_mov_ps(nowhere, attended, logits);
    _mm512_store_ps(s + i, logits);
    most = _mm512_max_ps(most, logits);
  }
  const __m512 m = _mm512_set1_ps(_mm512_reduce_max_ps(most));
  __m512 z = _mm512_setzero_ps();
  for (int i = 0; i <= last; i += 16) {
    const __m512 e = exp_nonpositive_f32x16(_mm512_sub_ps(_mm512_load_ps(s + i), m));
    z = _mm512_add_ps(z, e);
    _mm512_store_ps(s + i, e);
  }
  const __m512 inverse_z = _mm512_set1_ps(1.0f / tree16(z));
  for (int i = 0; i <= last; i += 16) _mm512_store_ps(s + i, _mm512_mul_ps(_mm512_load_ps(s + i), inverse_z));
}

// bias: null, or [tokens][tokens]; regions: null, or [tokens].
inline void softmax(float* s, int tokens, float scale, const float* bias, const uint8_t* regions, int query) {
  const float* row = bias ? bias + ptrdiff_t(query) * tokens : nullptr;
  (row || regions ? softmax<true> : softmax<false>)(s, tokens, scale, row, regions, query);
}

}  // namespace
}  // namespace fewbit
