// What the kernels of AttentionCodes for AVX-512 share: operands of their products, and the output row.
//
// Bytes on edges are level + 128. Of two operands of an 8-bit product one is signed and one unsigned:
//   scores  q ^ 0x80 (signed) x k as it is (unsigned) = S + 128 sum_c (q - 128), and what was added is the same for all keys of
//           a query, so it cancels in S - max S; only float logits need it subtracted
//   output  P (unsigned, offset 0) x v ^ 0x80 (signed) = O
//
// A "quad" is four consecutive summands of one column; the right side of a product has [summands / 4][columns][4].
//
// Rows of bytes are stored in whole vectors: loads have to wait for what was stored with a mask. What reaches into the next row
// is overwritten by it; behind the last one there is room (kSpill).
#pragma once

#include <immintrin.h>

#include "cpu/simd_avx512.h"

#include "cpu/attention_softmax_simd.h"
#include "cpu/row_encoders_simd.h"

namespace fewbit {
namespace {

// Buffers one behind the other, each from a multiple of 64 bytes on.
class ScratchParts {
 public:
  explicit ScratchParts(void* scratch) : next_(static_cast<uint8_t*>(scratch)) {}
  template <class T>
  T* take(ptrdiff_t count) {
    T* const begin = reinterpret_cast<T*>(next_);
    next_ += (count * ptrdiff_t(sizeof(T)) + 63) / 64 * 64;
    return begin;
  }

 private:
  uint8_t* next_;
};

// By how much a vector of 64 bytes passes the end of a row, whose size is a multiple of 16.
constexpr ptrdiff_t kSpill = 48;

// The first n of 16 or of 64 lanes.
inline __mmask16 first16(int n) { return static_cast<__mmask16>(n >= 16 ? 0xFFFF : (1u << n) - 1); }
inline __mmask64 first64(int n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }

// 16 bytes each of the rows of tokens s..s + 3, those that exist, as the four lanes of a vector. kTable: by row_of.
template <bool kTable>
inline __m512i load_rows4(const AttentionHead& a, const uint8_t* x, ptrdiff_t stride, int s, __mmask16 mask) {
  const auto row = [&](int i) {
    if (s + i >= a.tokens) return _mm_setzero_si128();
    return _mm_maskz_loadu_epi8(mask, x + (kTable ? a.row_of[s + i] : s + i) * stride);
  };
  __m512i rows = _mm512_castsi128_si512(row(0));
  rows = _mm512_inserti32x4(rows, row(1), 1);
  rows = _mm512_inserti32x4(rows, row(2), 2);
  return _mm512_inserti32x4(rows, row(3), 3);
}

// All tokens as columns of a right side, quads of channels, zeros behind head_width: 16 tokens x 16 channels at a time, a
// transposition of 16 x 4 quads. signed_: as x ^ 0x80.
template <bool kTable>
FEWBIT_NOINLINE void pack_columns(const AttentionHead& a, const uint8_t* x, ptrdiff_t stride, int depth, int columns,
                                  uint8_t* packed, bool signed_) {
  // Quads 0 and 1 (2 and 3) of the eight tokens in two vectors.
  const __m512i even = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(2));
  const ptrdiff_t row = 4 * ptrdiff_t(columns);
  for (int s = 0; s < columns; s += 16)
    for (int c = 0; c < depth; c += 16) {
      uint8_t* y = packed + c / 4 * row + 4 * s;
      const __mmask16 mask = c < a.head_width ? first16(a.head_width - c) : __mmask16(0);
      const __m512i sign = signed_ ? _mm512_broadcast_i32x4(_mm_maskz_set1_epi8(mask, -128)) : _mm512_setzero_si512();
      const auto rows4 = [&](int s) { return _mm512_xor_si512(sign, load_rows4<kTable>(a, x + c, stride, s, mask)); };
      const __m512i z0 = rows4(s), z1 = rows4(s + 4), z2 = rows4(s + 8), z3 = rows4(s + 12);
      const __m512i low01 = _mm512_permutex2var_epi32(z0, even, z1), high01 = _mm512_permutex2var_epi32(z2, even, z3);
      const __m512i low23 = _mm512_permutex2var_epi32(z0, odd, z1), high23 = _mm512_permutex2var_epi32(z2, odd, z3);
      _mm512_store_si512(y, _mm512_shuffle_i64x2(low01, high01, 0x44));
      _mm512_store_si512(y + row, _mm512_shuffle_i64x2(low01, high01, 0xEE));
      _mm512_store_si512(y + 2 * row, _mm512_shuffle_i64x2(low23, high23, 0x44));
      _mm512_store_si512(y + 3 * row, _mm512_shuffle_i64x2(low23, high23, 0xEE));
    }
}
inline void pack_columns(const AttentionHead& a, const uint8_t* x, ptrdiff_t stride, int depth, int columns, uint8_t* packed,
                         bool signed_) {
  (a.row_of ? pack_columns<true> : pack_columns<false>)(a, x, stride, depth, columns, packed, signed_);
}

// V ^ 0x80 as a right side with a column a channel, quads of keys: byte 4 n + j of a vector is byte n of lane j.
template <bool kTable>
FEWBIT_NOINLINE void pack_values(const AttentionHead& a, ptrdiff_t stride, int key_depth, int channels, uint8_t* packed) {
  const __m512i n = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i order = _mm512_add_epi32(_mm512_mullo_epi32(n, _mm512_set1_epi32(0x01010101)), _mm512_set1_epi32(0x30201000));
  for (int s = 0; s < key_depth; s += 4)
    for (int c = 0; c < channels; c += 16) {
      const __mmask16 mask = c < a.head_width ? first16(a.head_width - c) : __mmask16(0);
      const __m512i quads = _mm512_permutexvar_epi8(order, load_rows4<kTable>(a, a.v + c, stride, s, mask));
      _mm512_store_si512(packed + (ptrdiff_t(s) * channels + 4 * c), _mm512_xor_si512(quads, _mm512_set1_epi8(-128)));
    }
}
inline void pack_values(const AttentionHead& a, ptrdiff_t stride, int key_depth, int channels, uint8_t* packed) {
  (a.row_of ? pack_values<true> : pack_values<false>)(a, stride, key_depth, channels, packed);
}

// Bytes of the first n of 64 values; value(i) gives 16 of them from i on. With a table a look-up of 64 bytes costs what one of 16
// does.
template <class Value>
inline __m512i encode64(const EncoderF32x16& encode, int n, Value value) {
  const auto part = [&](int i) { return i < n ? value(i) : _mm512_setzero_ps(); };
  return encode(part(0), part(16), part(32), part(48));
}

// 16 outputs of a query before they are rounded.
inline __m512 output_of_sums(const int32_t* sums, __m512 scale) {
  return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums)), scale);
}

// Sums to bytes of queries t..t + rows.
FEWBIT_NOINLINE void store_rows(const AttentionHead& a, const int32_t* sums, ptrdiff_t channels, const RowEncoders& encoders,
                                ptrdiff_t stride, int t, int rows, const float* output_scales) {
  for (int r = 0; r < rows; ++r, sums += channels) {
    const __m512 scale = _mm512_set1_ps(output_scales[r]);
    const ptrdiff_t row = attention_row(a.row_of, t + r);
    const EncoderF32x16& encode = encoders.of(row);
    uint8_t* y = a.y + row * stride;
    const auto value = [&](int c) { return output_of_sums(sums + c, scale); };
    int c = 0;
    for (; c + 64 <= a.head_width; c += 64)
      _mm512_storeu_si512(y + c, encode(value(c), value(c + 16), value(c + 32), value(c + 48)));
    if (const int rest = a.head_width - c; rest > 16)
      _mm512_mask_storeu_epi8(y + c, first64(rest), encode64(encode, rest, [&](int k) { return value(c + k); }));
    else if (rest > 0)
      _mm_mask_storeu_epi8(y + c, first16(rest), encode(value(c)));
  }
}

}  // namespace
}  // namespace fewbit
