// The statistics in 16 bits: vpmaddwd makes the products of pairs, Z * 1 for the sums and Z * Z for the squares, 16 columns at
// a time.
#include <math.h>  // not <cmath>: its inline functions would be compiled with these flags for everybody

#include "cpu/implementations.h"
#include "cpu/simd_avx2.h"

#include "cpu/layernorm_codes_simd.h"

namespace fewbit {
namespace {

constexpr int kSquaresColumns = kSquaresVectors * 16;

// Z of 16 columns in 16 bits, in the order of packing, which sums do not see; columns that are missing are 0.
inline __m256i levels(const LayerNormCodes& op, const uint8_t* x, const Lanes& columns, const I32x16& shift) {
  I32x16 level = sub(load(x, columns), set16(op.offset));
  if (!columns.full()) level = select(columns.mask(), level, set16(0));
  const I32x16 z = shift_left(level, shift);
  return _mm256_packs_epi32(z.low, z.high);
}

template <class T, int kLanes>
T sum_of(const __m256i& lanes) {
  T values[kLanes], sum = 0;
  static_assert(sizeof values == sizeof lanes, "all lanes");
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(values), lanes);
  for (const T value : values) sum += value;
  return sum;
}

template <int kRows>
struct Statistics {
  float sum[kRows], r[kRows];

  Statistics(const LayerNormCodes& op, const uint8_t* x) {
    const __m256i low = _mm256_set1_epi64x(0xFFFFFFFF);
    __m256i sums[kRows], squares[kRows], wide[kRows];
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) sums[i] = wide[i] = _mm256_setzero_si256();
    for (int first = 0; first < op.width; first += kSquaresColumns) {
      const int end = first + kSquaresColumns < op.width ? first + kSquaresColumns : op.width;
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) squares[i] = _mm256_setzero_si256();
      for (int c = first; c < end; c += 16) {
        const Lanes columns(end - c);
        const I32x16 shift = op.shift ? load(op.shift + c, columns) : set16(0);
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i) {
          const __m256i z = levels(op, x + i * op.x_stride + c, columns, shift);
          sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(z, _mm256_set1_epi16(1)));
          squares[i] = _mm256_add_epi32(squares[i], _mm256_madd_epi16(z, z));
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i)
        wide[i] =
            _mm256_add_epi64(wide[i], _mm256_add_epi64(_mm256_and_si256(squares[i], low), _mm256_srli_epi64(squares[i], 32)));
    }
    for (int i = 0; i < kRows; ++i) {
      const int32_t s1 = sum_of<int32_t, 8>(sums[i]);
      const int64_t s2 = sum_of<int64_t, 4>(wide[i]);
      const float v = float(op.width * s2 - int64_t(s1) * s1) + op.eps;
      sum[i] = float(s1);
      r[i] = v > 0 ? 1.0f / sqrtf(v) : 0.0f;
    }
  }
};

}  // namespace

void layernorm_codes_avx2(const LayerNormCodes& op, int task, void*) { layernorm_codes<Statistics>(op, task); }

}  // namespace fewbit
