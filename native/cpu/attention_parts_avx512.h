// What the VNNI and the AMX kernel of AttentionCodes share: operand layouts, softmax on a row of scores, and the output row.
//
// Bytes on edges are level + 128. Of two operands of an 8-bit product one is signed and one unsigned:
//   scores  q ^ 0x80 (signed) x k as it is (unsigned) = S + 128 sum_c (q - 128), and what was added is the same for all keys of
//           a row, so it cancels in S - max S; only float logits need it subtracted
//   output  P (unsigned, offset 0) x v ^ 0x80 (signed) = O
//
// Layouts in scratch; a "quad" is four consecutive summands of one column:
//   q      [rows][depth]                   zeros behind head_width
//   K      [depth / 4][keys][4]            row of a product's right side: a quad of channels of all keys
//   V      [key_depth / 4][channels][4]    a quad of keys of all channels
//   scores [rows][keys] int32, then, where z is asked for, e as float in place;  P [rows][key_depth], zeros behind the last key
//   sums   [rows][channels] int32
//
// Rows of q and P are stored in whole vectors: loads have to wait for what was stored with a mask. What reaches into the next
// row is overwritten by it; behind the last one there is room (kSpill).
#pragma once

#include <immintrin.h>

#include <cstring>

#include "cpu/simd_avx512.h"

#include "cpu/attention_softmax_simd.h"
#include "cpu/row_encoders_simd.h"

namespace fewbit {
namespace {

// By how much a vector of 64 bytes passes the end of a row, whose size is a multiple of 16.
constexpr ptrdiff_t kSpill = 48;

// One head of one window, and its buffers.
struct AttentionTask : AttentionHead {
  int rows;                        // queries a block
  int depth, key_depth, channels;  // padded sizes, all multiples of 16
  uint8_t *packed_k, *packed_v, *packed_q, *p;
  int32_t* sums;

  // depth, keys and channels become multiples of the given sizes, key_depth one of summands.
  AttentionTask(const AttentionCodes& op, int task, int rows, int columns, int summands, void* scratch)
      : AttentionHead(op, task, columns),
        rows(rows),
        depth(round_up(head_width, summands)),
        key_depth(round_up(tokens, summands)),
        channels(round_up(head_width, columns)) {
    // Each size is a multiple of 64 bytes or follows those that are: a row of K or V is 4 x 16 bytes, one of scores too.
    uint8_t* next = static_cast<uint8_t*>(scratch);
    const auto take = [&next](ptrdiff_t bytes) {
      uint8_t* const begin = next;
      next += (bytes + 63) / 64 * 64;
      return begin;
    };
    packed_k = take(ptrdiff_t(depth) * keys);
    packed_v = take(ptrdiff_t(key_depth) * channels);
    scores = reinterpret_cast<int32_t*>(take(4 * ptrdiff_t(rows) * keys));
    sums = reinterpret_cast<int32_t*>(take(4 * ptrdiff_t(rows) * channels));
    packed_q = take(ptrdiff_t(rows) * depth + kSpill);
    p = take(ptrdiff_t(rows) * key_depth + kSpill);
  }
};

// The first n of 16 or of 64 lanes.
inline __mmask16 first16(int n) { return static_cast<__mmask16>(n >= 16 ? 0xFFFF : (1u << n) - 1); }
inline __mmask64 first64(int n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }

inline int32_t sum_of_four(__m128i sums) {
  sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0xB1)));
}

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

// 16 tokens x 16 channels at a time: a 16 x 4 transposition of quads.
template <bool kTable>
FEWBIT_NOINLINE void pack_columns(const AttentionHead& a, const uint8_t* x, ptrdiff_t stride, int depth, int columns, uint8_t* packed,
                                  bool flip) {
  // Quads 0 and 1 (2 and 3) of the eight keys in two vectors.
  const __m512i even = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(2));
  const ptrdiff_t row = 4 * ptrdiff_t(columns);
  for (int s = 0; s < columns; s += 16)
    for (int c = 0; c < depth; c += 16) {
      uint8_t* y = packed + c / 4 * row + 4 * s;
      const __mmask16 mask = c < a.head_width ? first16(a.head_width - c) : __mmask16(0);
      const __m512i sign = flip ? _mm512_broadcast_i32x4(_mm_maskz_set1_epi8(mask, -128)) : _mm512_setzero_si512();
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
inline void pack_columns(const AttentionHead& a, const uint8_t* x, ptrdiff_t stride, int depth, int columns, uint8_t* packed, bool flip) {
  (a.row_of ? pack_columns<true> : pack_columns<false>)(a, x, stride, depth, columns, packed, flip);
}

// Four keys x 16 channels at a time: byte 4 n + j of the result is byte n of lane j.
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

inline void pack_keys(const AttentionTask& a, ptrdiff_t k_stride, ptrdiff_t v_stride) {
  pack_columns(a, a.k, k_stride, a.depth, a.keys, a.packed_k, false);
  pack_values(a, v_stride, a.key_depth, a.channels, a.packed_v);
}

// Queries t..t + rows as signed bytes. Rows behind the last query repeat it: their results are computed and dropped.
inline void pack_q(const AttentionTask& a, ptrdiff_t stride, int t) {
  for (int r = 0; r < a.rows; ++r) {
    const uint8_t* x = a.q + attention_row(a.row_of, t + r < a.tokens ? t + r : a.tokens - 1) * stride;
    uint8_t* y = a.packed_q + ptrdiff_t(r) * a.depth;
    for (int c = 0; c < a.depth; c += 64) {
      const __mmask64 mask = c < a.head_width ? first64(a.head_width - c) : __mmask64(0);
      const __m512i levels = _mm512_maskz_sub_epi8(mask, _mm512_maskz_loadu_epi8(mask, x + c), _mm512_set1_epi8(-128));
      _mm512_storeu_si512(y + c, levels);
    }
  }
}

// Bytes of the first n of 64 values; value(i) gives 16 of them from i on. With a table a look-up of 64 bytes costs what one of 16
// does.
template <class Value>
inline __m512i encode64(const EncoderF32x16& encode, int n, Value value) {
  const auto part = [&](int i) { return i < n ? value(i) : _mm512_setzero_ps(); };
  return encode(part(0), part(16), part(32), part(48));
}

// Values of all keys to a row of P; value(i) gives 16 of them from key i on. Returns lanes that add up to the sum of the codes.
template <class Value>
inline __m512i encode_keys(const AttentionTask& a, const EncoderF32x16& encode, uint8_t* p, Value value) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i sums = _mm512_setzero_si512();
  int i = 0;
  for (; i + 64 <= a.tokens; i += 64) {
    const __m512i bytes = encode(value(i), value(i + 16), value(i + 32), value(i + 48));
    _mm512_storeu_si512(p + i, bytes);
    sums = _mm512_dpbusd_epi32(sums, bytes, ones);
  }
  if (const int rest = a.tokens - i; rest > 16) {
    const __m512i bytes = _mm512_maskz_mov_epi8(first64(rest), encode64(encode, rest, [&](int k) { return value(i + k); }));
    _mm512_storeu_si512(p + i, bytes);
    sums = _mm512_dpbusd_epi32(sums, bytes, ones);
    i += 64;
  } else if (rest > 0) {
    const __m128i bytes = _mm_maskz_mov_epi8(first16(rest), encode(value(i)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + i), bytes);
    sums = _mm512_dpbusd_epi32(sums, _mm512_zextsi128_si512(bytes), ones);
    i += 16;
  }
  for (; i < a.key_depth; i += 16) _mm_storeu_si128(reinterpret_cast<__m128i*>(p + i), _mm_setzero_si128());
  return sums;
}

// e times a factor of its row to P of queries t..t + rows; sums as encode_keys gives them.
FEWBIT_NOINLINE void weights(const AttentionTask& a, const RowEncoders& encoders_p, int t, int rows, const float* factors,
                             __m512i* sums) {
  for (int r = 0; r < rows; ++r) {
    const int32_t* e = a.scores + ptrdiff_t(r) * a.keys;
    const __m512 scale = _mm512_set1_ps(factors[r]);
    sums[r] = encode_keys(a, encoders_p.of(attention_row(a.row_of, t + r)), a.p + ptrdiff_t(r) * a.key_depth,
                          [&](int i) { return _mm512_mul_ps(_mm512_load_ps(e + i), scale); });
  }
}

// Scores or logits to P in one pass, of relative codes, which need no z.
template <class Exponential>
FEWBIT_NOINLINE void relative_weights(const AttentionTask& a, const RowEncoders& encoders_p, int t, int rows,
                                      const typename Exponential::Greatest* m, __m512i* sums) {
  for (int r = 0; r < rows; ++r) {
    const Exponential e(a, m[r]);
    const int32_t* s = a.scores + ptrdiff_t(r) * a.keys;
    sums[r] = encode_keys(a, encoders_p.of(attention_row(a.row_of, t + r)), a.p + ptrdiff_t(r) * a.key_depth,
                          [&](int i) { return e(s + i); });
  }
}

// What the scores of a row hold beyond S: 128 times the sum of its levels.
inline int32_t excess(const AttentionTask& a, int r) {
  const uint8_t* q = a.packed_q + ptrdiff_t(r) * a.depth;
  __m128i sums = _mm_setzero_si128();
  for (int c = 0; c < a.depth; c += 16)
    sums = _mm_dpbusd_epi32(sums, _mm_set1_epi8(-128), _mm_load_si128(reinterpret_cast<const __m128i*>(q + c)));
  return sum_of_four(sums);
}

// Scores (or, in their place, logits) to P of queries t..t + rows, and what the sums of products with each are multiplied with.
template <class Exponential>
inline void softmax(const AttentionTask& a, const RowEncoders& encoders_p, int t, int rows,
                    const typename Exponential::Greatest* m, float* output_scales) {
  __m512i sums[kMostRows];
  // A table and the constants of an exponential do not fit the registers together.
  if (a.relative && !encoders_p.usual.by_table()) {
    relative_weights<Exponential>(a, encoders_p, t, rows, m, sums);
  } else {
    float factors[kMostRows];
    exponentials<Exponential>(a, rows, m, factors);
    for (int r = 0; r < rows && a.relative; ++r) factors[r] = 1.0f;
    weights(a, encoders_p, t, rows, factors, sums);
  }
  for (int r = 0; r < rows; ++r)
    output_scales[r] = a.relative ? relative_scale(a.output_scale, _mm512_reduce_add_epi32(sums[r])) : a.output_scale;
}

// The same from scores, by way of logits where an op has some.
inline void softmax(const AttentionTask& a, const RowEncoders& encoders_p, int t, int rows, float* output_scales) {
  if (a.logits) {
    int32_t beyond[kMostRows];
    float m[kMostRows];
    for (int r = 0; r < rows; ++r) beyond[r] = excess(a, r);
    logits_of_scores(a, t, rows, beyond, m);
    return softmax<OfLogits>(a, encoders_p, t, rows, m, output_scales);
  }
  int32_t m[kMostRows];
  maxima(a, rows, m);
  softmax<OfScores>(a, encoders_p, t, rows, m, output_scales);
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

// The same of heads of 32 channels whose rows have one code: two rows are a vector of bytes.
FEWBIT_NOINLINE void store_pairs(const AttentionHead& a, const int32_t* sums, const EncoderF32x16& code, ptrdiff_t stride, int t,
                                 int rows, const float* output_scales) {
  const EncoderF32x16 encode = code;
  const auto to = [&](int r) { return reinterpret_cast<__m256i*>(a.y + attention_row(a.row_of, t + r) * stride); };
  for (int r = 0; r < rows; r += 2, sums += 64) {
    const int next = r + 1 < rows ? r + 1 : r;
    const __m512 scale = _mm512_set1_ps(output_scales[r]), next_scale = _mm512_set1_ps(output_scales[next]);
    const __m512i bytes = encode(output_of_sums(sums, scale), output_of_sums(sums + 16, scale),
                                 output_of_sums(sums + 32, next_scale), output_of_sums(sums + 48, next_scale));
    if (next > r) _mm256_storeu_si256(to(next), _mm512_extracti64x4_epi64(bytes, 1));
    _mm256_storeu_si256(to(r), _mm512_castsi512_si256(bytes));
  }
}

inline void store_output(const AttentionTask& a, const RowEncoders& encoders, ptrdiff_t stride, int t, int rows, const float* output_scales) {
  store_rows(a, a.sums, a.channels, encoders, stride, t, rows, output_scales);
}

}  // namespace
}  // namespace fewbit
