// Packed weights of fewer than 8 bits to int8 rows, 64 bytes (16 outputs x 4 inputs) a vector.
#pragma once

#include <immintrin.h>

#include "cpu/weight_bits.h"
#include "format/packed_weight.h"

namespace fewbit {
namespace {

// u with the p-bit plane's part of row r at bit `target` of each byte. Shifts work on 16-bit lanes; the mask drops what came
// over from the neighbour byte.
template <int p>
inline __m512i add_plane(__m512i u, const uint8_t* plane, int row, int target) {
  const __m512i v = _mm512_loadu_si512(plane + kRowBytes * (row / (8 / p)));
  const int shift = p * (row % (8 / p)) - target;
  const __m512i moved = shift > 0 ? _mm512_srli_epi16(v, shift) : shift < 0 ? _mm512_slli_epi16(v, -shift) : v;
  return _mm512_ternarylogic_epi32(moved, _mm512_set1_epi8(static_cast<char>(((1 << p) - 1) << target)), u, 0xEA);
}

// Codes + 2^(bits - 1).
template <int bits>
inline __m512i unsigned_row(const uint8_t* block, int row) {
  __m512i u = _mm512_setzero_si512();
  if constexpr (bits & 4) u = add_plane<4>(u, block, row, bits & 3);
  if constexpr (bits & 2) u = add_plane<2>(u, block + kRowBytes * (bits & 4), row, bits & 1);
  if constexpr (bits & 1) u = add_plane<1>(u, block + kRowBytes * (bits & 6), row, 0);
  return u;
}

template <int bits>
inline void decode_blocks(const uint8_t* packed, int blocks, int8_t* rows) {
  const __m512i half = _mm512_set1_epi8(1 << (bits - 1));
  for (int c = 0; c < blocks; ++c) {
#pragma GCC unroll 8
    for (int r = 0; r < kBlockRows; ++r)
      _mm512_store_si512(rows + kRowBytes * r, _mm512_sub_epi8(unsigned_row<bits>(packed, r), half));
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
