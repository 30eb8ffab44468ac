// The statistics in 16 bits: vpdpwssd adds the products of pairs, Z * 1 for the sums and Z * Z for the squares, 32 columns at
// a time.
#include <math.h>  // not <cmath>: its inline functions would be compiled with these flags for everybody

#include "cpu/implementations.h"
#include "cpu/simd_avx512.h"

#include "cpu/layernorm_codes_simd.h"

namespace fewbit {
namespace {

constexpr int kColumns = 32;
constexpr int kSquaresColumns = kSquaresVectors * kColumns;

inline __mmask32 first32(int n) { return n >= 32 ? 0xFFFFFFFFu : (1u << n) - 1; }

// Z of 32 columns in 16 bits; columns that are missing are 0.
inline __m512i levels(const LayerNormCodes& op, const uint8_t* x, __mmask32 mask, __m512i shift) {
  const __m512i byte = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, x));
  return _mm512_sllv_epi16(_mm512_maskz_sub_epi16(mask, byte, _mm512_set1_epi16(static_cast<short>(op.offset))), shift);
}

template <int kRows>
struct Statistics {
  float sum[kRows], r[kRows];

  Statistics(const LayerNormCodes& op, const uint8_t* x) {
    const __m512i low = _mm512_set1_epi64(0xFFFFFFFF);
    __m512i sums[kRows], squares[kRows], wide[kRows];
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) sums[i] = wide[i] = _mm512_setzero_si512();
    for (int first = 0; first < op.width; first += kSquaresColumns) {
      const int end = first + kSquaresColumns < op.width ? first + kSquaresColumns : op.width;
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) squares[i] = _mm512_setzero_si512();
      for (int c = first; c < end; c += kColumns) {
        const __mmask32 mask = first32(end - c);
        const __m512i shift =
            op.shift ? _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, op.shift + c)) : _mm512_setzero_si512();
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i) {
          const __m512i z = levels(op, x + i * op.x_stride + c, mask, shift);
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
      sum[i] = float(s1);
      r[i] = v > 0 ? 1.0f / sqrtf(v) : 0.0f;
    }
  }
};

}  // namespace

void layernorm_codes_avx512(const LayerNormCodes& op, int task, void*) { layernorm_codes<Statistics>(op, task); }

}  // namespace fewbit
