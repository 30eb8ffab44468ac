// Packed weights of fewer than 8 bits to int8 rows of 64 bytes (16 outputs x 4 inputs), two vectors each: what
// weight_rows_avx512.h does in one.
#pragma once

#include <immintrin.h>

#include "cpu/weight_bits.h"
#include "format/packed_weight.h"

namespace fewbit {
namespace {

// The p-bit plane's part of half a row r, moved to bit `target` of each byte. Shifts work on 16-bit lanes; the mask drops what
// came over from the neighbour byte.
template <int p>
inline __m256i plane_part(const uint8_t* plane, int row, int half, int target) {
  const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(plane + kRowBytes * (row / (8 / p)) + 32 * half));
  const int shift = p * (row % (8 / p)) - target;
  const __m256i moved = shift > 0 ? _mm256_srli_epi16(v, shift) : shift < 0 ? _mm256_slli_epi16(v, -shift) : v;
  return _mm256_and_si256(moved, _mm256_set1_epi8(static_cast<char>(((1 << p) - 1) << target)));
}

template <int bits>
inline __m256i weight_row(const uint8_t* block, int row, int half) {
  __m256i u = _mm256_setzero_si256();
  if constexpr (bits & 4) u = plane_part<4>(block, row, half, bits & 3);
  if constexpr (bits & 2) u = _mm256_or_si256(u, plane_part<2>(block + kRowBytes * (bits & 4), row, half, bits & 1));
  if constexpr (bits & 1) u = _mm256_or_si256(u, plane_part<1>(block + kRowBytes * (bits & 6), row, half, 0));
  return _mm256_sub_epi8(u, _mm256_set1_epi8(1 << (bits - 1)));
}

template <int bits>
inline void decode_blocks(const uint8_t* packed, int blocks, int8_t* rows) {
  for (int c = 0; c < blocks; ++c) {
#pragma GCC unroll 8
    for (int r = 0; r < kBlockRows; ++r) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(rows + kRowBytes * r), weight_row<bits>(packed, r, 0));
      _mm256_store_si256(reinterpret_cast<__m256i*>(rows + kRowBytes * r + 32), weight_row<bits>(packed, r, 1));
    }
    packed += block_bytes(bits);
    rows += block_bytes(8);
  }
}

// rows: 512 bytes a block, 64-byte aligned.
inline void decode_blocks(const uint8_t* packed, int bits, int blocks, int8_t* rows) {
  with_packed_bits(bits, [&](auto width) { decode_blocks<width()>(packed, blocks, rows); });
}

}  // namespace
}  // namespace fewbit
