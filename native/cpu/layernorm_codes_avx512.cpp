// The statistics in 16 bits: vpdpwssd adds the products of pairs, Z * 1 for the sums and Z * Z for the squares, 32 columns at
// a time. Four rows at a time share what belongs to the columns.
#include <math.h>  // not <cmath>: its inline functions would be compiled with these flags for everybody

#include "cpu/implementations.h"
#include "cpu/simd_avx512.h"

namespace fewbit {
namespace {

constexpr int kRows = 4;
// Z^2 <= 2^28, a lane gets two of them from a vector: 7 vectors stay below 2^32, and then go to 64 bits.
constexpr int kSquaresColumns = 7 * 32;

inline void store(float* y, __mmask16 mask, __m512 v) {
  if (mask == 0xFFFF)
    _mm512_storeu_ps(y, v);
  else
    _mm512_mask_storeu_ps(y, mask, v);
}

inline void store(uint8_t* y, __mmask16 mask, __m128i v) {
  if (mask == 0xFFFF)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), v);
  else
    _mm_mask_storeu_epi8(y, mask, v);
}

inline __mmask32 first32(int n) { return n >= 32 ? 0xFFFFFFFFu : (1u << n) - 1; }
inline __mmask16 first16(int n) { return static_cast<__mmask16>(n >= 16 ? 0xFFFF : (1u << n) - 1); }

// Rows of codes as Z of 32 columns in 16 bits, or of 16 columns in 32 bits; columns that are missing are 0.
class Levels {
 public:
  explicit Levels(const LayerNormCodes& op) : op_(op) {}

  __m512i shift32(int c, __mmask32 mask) const {
    return op_.shift ? _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, op_.shift + c)) : _mm512_setzero_si512();
  }
  __m512i shift16(int c, __mmask16 mask) const {
    return op_.shift ? _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, op_.shift + c)) : _mm512_setzero_si512();
  }
  __m512i z32(const uint8_t* x, __mmask32 mask, __m512i shift) const {
    const __m512i byte = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, x));
    return _mm512_sllv_epi16(_mm512_maskz_sub_epi16(mask, byte, _mm512_set1_epi16(static_cast<short>(op_.offset))), shift);
  }
  __m512i z16(const uint8_t* x, __mmask16 mask, __m512i shift) const {
    const __m512i byte = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, x));
    return _mm512_sllv_epi32(_mm512_sub_epi32(byte, _mm512_set1_epi32(op_.offset)), shift);
  }

 private:
  const LayerNormCodes& op_;
};

// S1 and r of rows.
template <int kRows>
struct Statistics {
  __m512 sum[kRows], r[kRows];

  Statistics(const LayerNormCodes& op, const Levels& levels, const uint8_t* x) {
    const __m512i low = _mm512_set1_epi64(0xFFFFFFFF);
    __m512i sums[kRows], squares[kRows], wide[kRows];
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) sums[i] = wide[i] = _mm512_setzero_si512();
    for (int first = 0; first < op.width; first += kSquaresColumns) {
      const int end = first + kSquaresColumns < op.width ? first + kSquaresColumns : op.width;
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) squares[i] = _mm512_setzero_si512();
      for (int c = first; c < end; c += 32) {
        const __mmask32 mask = first32(end - c);
        const __m512i shift = levels.shift32(c, mask);
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i) {
          const __m512i z = levels.z32(x + i * op.x_stride + c, mask, shift);
          sums[i] = _mm512_dpwssd_epi32(sums[i], z, _mm512_set1_epi16(1));
          squares[i] = _mm512_dpwssd_epi32(squares[i], z, z);
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i)
        wide[i] =
            _mm512_add_epi64(wide[i], _mm512_add_epi64(_mm512_and_si512(squares[i], low), _mm512_srli_epi64(squares[i], 32)));
    }
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const int32_t s1 = _mm512_reduce_add_epi32(sums[i]);
      const int64_t s2 = _mm512_reduce_add_epi64(wide[i]);
      const float v = float(op.width * s2 - int64_t(s1) * s1) + op.eps;
      sum[i] = _mm512_set1_ps(float(s1));
      r[i] = _mm512_set1_ps(v > 0 ? 1.0f / sqrtf(v) : 0.0f);
    }
  }
};

// Rows t..t + kRows.
template <int kRows>
void normalise(const LayerNormCodes& op, const EncoderF32x16& encode, ptrdiff_t t) {
  const Levels levels(op);
  const uint8_t* x = op.x + t * op.x_stride;
  const Statistics<kRows> statistics(op, levels, x);
  const __m512 width = _mm512_set1_ps(float(op.width));
  for (int c = 0; c < op.width; c += 16) {
    const __mmask16 mask = first16(op.width - c);
    const __m512i shift = levels.shift16(c, mask);
    const __m512 gamma = _mm512_maskz_loadu_ps(mask, op.gamma + c), beta = _mm512_maskz_loadu_ps(mask, op.beta + c);
    const __m512 inverse = encode.inverse_steps(c);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const __m512 z = _mm512_cvtepi32_ps(levels.z16(x + i * op.x_stride + c, mask, shift));
      const __m512 centred = _mm512_fmsub_ps(z, width, statistics.sum[i]);
      const __m512 y = _mm512_fmadd_ps(_mm512_mul_ps(centred, statistics.r[i]), gamma, beta);
      if (op.y_float)
        store(op.y_float + (t + i) * op.y_float_stride + c, mask, y);
      else
        store(op.y_codes + (t + i) * op.y_codes_stride + c, mask, encode(y, inverse));
    }
  }
}

}  // namespace

void layernorm_codes_avx512(const LayerNormCodes& op, int task, void*) {
  int t = task * kLayerNormTaskRows;
  const int end = t + kLayerNormTaskRows < op.rows ? t + kLayerNormTaskRows : op.rows;
  const EncoderF32x16 encode(op.encode);
  for (; t + kRows <= end; t += kRows) normalise<kRows>(op, encode, t);
  for (; t < end; ++t) normalise<1>(op, encode, t);
}

}  // namespace fewbit
