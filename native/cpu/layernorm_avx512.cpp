// The contract's tree is one accumulator of 16 lanes a row, whose additions wait for each other (3 to 4 cycles); four rows at
// a time fill the pipes.
#include <math.h>  // not <cmath>: its inline functions would be compiled with these flags for everybody

#include "cpu/implementations.h"
#include "cpu/simd_avx512.h"

namespace fewbit {
namespace {

constexpr int kRows = 4;

// Rows t..t + kRows; a lane that is missing behind the width adds +0, which changes no sum that began at +0.
template <int kRows>
void normalise(const LayerNorm& op, const EncoderF32x16& encode, ptrdiff_t t) {
  const int whole = op.width & ~15;
  const __mmask16 rest = static_cast<__mmask16>((1u << (op.width - whole)) - 1);
  const float* x = op.x + t * op.x_stride;

  __m512 lanes[kRows], mean[kRows], r[kRows];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) lanes[i] = _mm512_setzero_ps();
  for (int c = 0; c < whole; c += 16)
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) lanes[i] = _mm512_add_ps(lanes[i], _mm512_loadu_ps(x + i * op.x_stride + c));
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    if (rest) lanes[i] = _mm512_add_ps(lanes[i], _mm512_maskz_loadu_ps(rest, x + i * op.x_stride + whole));
    mean[i] = _mm512_set1_ps(tree16(lanes[i]) / float(op.width));
    lanes[i] = _mm512_setzero_ps();
  }

  for (int c = 0; c < whole; c += 16)
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const __m512 d = _mm512_sub_ps(_mm512_loadu_ps(x + i * op.x_stride + c), mean[i]);
      lanes[i] = _mm512_fmadd_ps(d, d, lanes[i]);
    }
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    if (rest) {
      const __m512 d = _mm512_maskz_sub_ps(rest, _mm512_maskz_loadu_ps(rest, x + i * op.x_stride + whole), mean[i]);
      lanes[i] = _mm512_fmadd_ps(d, d, lanes[i]);
    }
    r[i] = _mm512_set1_ps(1.0f / sqrtf(tree16(lanes[i]) / float(op.width) + op.eps));
  }

  const auto normal = [](__m512 x, __m512 mean, __m512 r, __m512 gamma, __m512 beta) {
    return _mm512_fmadd_ps(_mm512_mul_ps(_mm512_sub_ps(x, mean), r), gamma, beta);
  };
  for (int c = 0; c < whole; c += 16) {
    const __m512 gamma = _mm512_loadu_ps(op.gamma + c), beta = _mm512_loadu_ps(op.beta + c);
    const __m512 inverse = encode.inverse_steps(c);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const __m512 y = normal(_mm512_loadu_ps(x + i * op.x_stride + c), mean[i], r[i], gamma, beta);
      if (op.y_float)
        _mm512_storeu_ps(op.y_float + (t + i) * op.y_float_stride + c, y);
      else
        _mm_storeu_si128(reinterpret_cast<__m128i*>(op.y_codes + (t + i) * op.y_codes_stride + c), encode(y, inverse));
    }
  }
  if (!rest) return;
  const __m512 gamma = _mm512_maskz_loadu_ps(rest, op.gamma + whole), beta = _mm512_maskz_loadu_ps(rest, op.beta + whole);
  const __m512 inverse = encode.inverse_steps(whole);
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    const __m512 y = normal(_mm512_maskz_loadu_ps(rest, x + i * op.x_stride + whole), mean[i], r[i], gamma, beta);
    if (op.y_float)
      _mm512_mask_storeu_ps(op.y_float + (t + i) * op.y_float_stride + whole, rest, y);
    else
      _mm_mask_storeu_epi8(op.y_codes + (t + i) * op.y_codes_stride + whole, rest, encode(y, inverse));
  }
}

}  // namespace

void layernorm_avx512(const LayerNorm& op, int task, void*) {
  int t = task * kLayerNormTaskRows;
  const int end = t + kLayerNormTaskRows < op.rows ? t + kLayerNormTaskRows : op.rows;
  const EncoderF32x16 encode(op.encode);
  for (; t + kRows <= end; t += kRows) normalise<kRows>(op, encode, t);
  for (; t < end; ++t) normalise<1>(op, encode, t);
}

}  // namespace fewbit
