// AttentionF32 on AVX-512: the structure of attention_avx512.cpp with multiply-adds. Six queries at a time; K transposed to
// [channels][keys], V copied to rows padded with zeros.
//
// Errors: a score is a sum of head_width products, each rounded once; its error e gives a relative error of about e in P; the
// sums over keys add a few rounding errors more. No order of summation is promised.
#include <math.h>
#include <cstring>

#include "cpu/attention_masks_avx512.h"
#include "cpu/implementations.h"
#include "cpu/simd_avx512.h"

namespace fewbit {
namespace {

constexpr int kRows = 6;

// y[r][0..16 kVectors) = sum over steps of x[r][step] b[step][..].
template <int kVectors>
FEWBIT_NOINLINE void multiply(const float* x, ptrdiff_t x_stride, const float* b, ptrdiff_t b_stride, int steps, float* y,
                              ptrdiff_t y_stride) {
  __m512 sums[kRows][kVectors];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) sums[r][n] = _mm512_setzero_ps();
  for (int step = 0; step < steps; ++step, b += b_stride) {
    __m512 columns[kVectors];
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) columns[n] = _mm512_load_ps(b + 16 * n);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const __m512 row = _mm512_set1_ps(x[r * x_stride + step]);
#pragma GCC unroll 4
      for (int n = 0; n < kVectors; ++n) sums[r][n] = _mm512_fmadd_ps(row, columns[n], sums[r][n]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) _mm512_store_ps(y + r * y_stride + 16 * n, sums[r][n]);
}

// All columns, in multiples of 16.
void multiply(const float* x, ptrdiff_t x_stride, const float* b, int columns, int steps, float* y) {
  int n = 0;
  for (; n + 64 <= columns; n += 64) multiply<4>(x, x_stride, b + n, columns, steps, y + n, columns);
  switch ((columns - n) / 16) {
    case 3:
      multiply<3>(x, x_stride, b + n, columns, steps, y + n, columns);
      break;
    case 2:
      multiply<2>(x, x_stride, b + n, columns, steps, y + n, columns);
      break;
    case 1:
      multiply<1>(x, x_stride, b + n, columns, steps, y + n, columns);
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

}  // namespace

void attention_f32_avx512(const AttentionF32& op, int task, void* scratch) {
  const AttentionPlace place = attention_place(op, task);
  const int b = place.image, h = place.head, tokens = op.tokens, width = op.head_width;
  const int32_t* rows_of = place.rows;
  const uint8_t* regions = parting_regions(place.regions, tokens);
  const float* q = op.q + b * op.q_image_stride + h * width;
  const float* k = op.k + b * op.k_image_stride + h * width;
  const float* v = op.v + b * op.v_image_stride + h * width;
  float* y = op.y + b * op.y_image_stride + h * width;
  const int keys = round_up(tokens, 16), channels = round_up(width, 16);

  float* k_t = static_cast<float*>(scratch);              // [width][keys]
  float* v_rows = k_t + ptrdiff_t(width) * keys;          // [tokens][channels]
  float* scores = v_rows + ptrdiff_t(tokens) * channels;  // [kRows][keys]
  float* sums = scores + kRows * keys;                    // [kRows][channels]
  float* q_rows = sums + kRows * channels;                // [kRows][width]
  for (int s = 0; s < keys; ++s) {
    const float* row = k + (s < tokens ? attention_row(rows_of, s) : 0) * op.k_stride;
    for (int c = 0; c < width; ++c) k_t[ptrdiff_t(c) * keys + s] = s < tokens ? row[c] : 0.0f;
  }
  for (int s = 0; s < tokens; ++s) {
    std::memcpy(v_rows + ptrdiff_t(s) * channels, v + attention_row(rows_of, s) * op.v_stride, width * sizeof(float));
    std::memset(v_rows + ptrdiff_t(s) * channels + width, 0, (channels - width) * sizeof(float));
  }

  for (int t = 0; t < tokens; t += kRows) {
    const int rows = t + kRows < tokens ? kRows : tokens - t;
    for (int r = 0; r < kRows; ++r)  // rows behind the last query repeat it: their results are dropped
      std::memcpy(q_rows + ptrdiff_t(r) * width, q + attention_row(rows_of, r < rows ? t + r : t) * op.q_stride,
                  width * sizeof(float));
    multiply(q_rows, width, k_t, keys, width, scores);
    for (int r = 0; r < kRows; ++r) {
      const int query = r < rows ? t + r : t;
      const float* bias = place.bias ? place.bias + ptrdiff_t(query) * tokens : nullptr;
      (bias || regions ? softmax<true> : softmax<false>)(scores + ptrdiff_t(r) * keys, tokens, op.scale[h], bias, regions, query);
    }
    multiply(scores, keys, v_rows, channels, tokens, sums);
    for (int r = 0; r < rows; ++r) {
      std::memcpy(y + attention_row(rows_of, t + r) * op.y_stride, sums + ptrdiff_t(r) * channels, width * sizeof(float));
      if (!op.probabilities) continue;
      const ptrdiff_t row = (ptrdiff_t(place.window) * op.heads + h) * tokens + t + r;
      std::memcpy(op.probabilities + b * op.probabilities_image_stride + row * op.probabilities_stride,
                  scores + ptrdiff_t(r) * keys, tokens * sizeof(float));
    }
  }
}

}  // namespace fewbit
