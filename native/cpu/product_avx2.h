// Products of 16-bit integers, for operands whose bytes would saturate vpmaddubsw: u8 x s8 at 8 bits reaches 2 * 255 * 128.
// For *_avx2.cpp only.
//
//   vpmaddwd ymm: 16 products added in pairs to 8 int32, two a cycle. A block of 6 rows x 16 columns keeps 12 sums in
//   registers and reads 2 vectors and 6 broadcasts for 12 products.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/noinline.h"

namespace fewbit {
namespace {

inline __m256i broadcast_dword(const void* x) {
  int32_t v;
  std::memcpy(&v, x, 4);
  return _mm256_set1_epi32(v);
}

// y[r][0..16) = sum over steps of the pair x[r][2 step..] times the pairs b[step][16][2]. Strides in elements.
template <int R>
FEWBIT_NOINLINE void multiply_pairs(const int16_t* x, ptrdiff_t x_stride, const int16_t* b, ptrdiff_t b_stride, int steps,
                                    int32_t* y, ptrdiff_t y_stride) {
  __m256i sum[R][2];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
  for (int step = 0; step < steps; ++step, x += 2, b += b_stride) {
    const __m256i low = _mm256_load_si256(reinterpret_cast<const __m256i*>(b));
    const __m256i high = _mm256_load_si256(reinterpret_cast<const __m256i*>(b + 16));
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const __m256i pair = broadcast_dword(x + r * x_stride);
      sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(pair, low));
      sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(pair, high));
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(y + r * y_stride), sum[r][0]);
    _mm256_store_si256(reinterpret_cast<__m256i*>(y + r * y_stride + 8), sum[r][1]);
  }
}

}  // namespace
}  // namespace fewbit
