// AttentionCodes with the keys of a query in the lanes of vectors: all queries where products are tiles, else the few that would
// leave most lanes of a vector of queries empty (attention_lanes_avx512.h).
//
// Layouts:
//   q      [rows][depth]              zeros behind head_width
//   scores [rows][keys] int32, then, where z is asked for, e as float in place
//   P      [rows][key_depth]          zeros behind the last key
#pragma once

#include "cpu/attention_parts_avx512.h"

namespace fewbit {
namespace {

// Some queries of a head with their keys in the lanes of vectors, and their buffers.
struct QueryRows : AttentionHead {
  int rows;              // queries at once
  int depth, key_depth;  // padded sizes, multiples of 16
  uint8_t *packed_q, *p;
  uint8_t* rest;  // of scratch

  // scratch: for scores, q and P.
  QueryRows(const AttentionHead& head, int rows, int depth, int key_depth, void* scratch)
      : AttentionHead(head), rows(rows), depth(depth), key_depth(key_depth) {
    ScratchParts parts(scratch);
    scores = parts.take<int32_t>(ptrdiff_t(rows) * keys);
    packed_q = parts.take<uint8_t>(ptrdiff_t(rows) * depth + kSpill);
    p = parts.take<uint8_t>(ptrdiff_t(rows) * key_depth + kSpill);
    rest = parts.take<uint8_t>(0);
  }
};

inline int32_t sum_of_four(__m128i sums) {
  sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0xB1)));
}

// Queries from t on as signed bytes. Rows behind the last query repeat it: their results are computed and dropped.
inline void pack_q(const QueryRows& a, ptrdiff_t stride, int t) {
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

// Values of all keys to a row of P; value(i) gives 16 of them from key i on. Returns lanes that add up to the sum of the codes.
template <class Value>
inline __m512i encode_keys(const QueryRows& a, const EncoderF32x16& encode, uint8_t* p, Value value) {
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
FEWBIT_NOINLINE void weights(const QueryRows& a, const RowEncoders& encoders_p, int t, int rows, const float* factors,
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
FEWBIT_NOINLINE void relative_weights(const QueryRows& a, const RowEncoders& encoders_p, int t, int rows,
                                      const typename Exponential::Greatest* m, __m512i* sums) {
  for (int r = 0; r < rows; ++r) {
    const Exponential e(a, m[r]);
    const int32_t* s = a.scores + ptrdiff_t(r) * a.keys;
    sums[r] = encode_keys(a, encoders_p.of(attention_row(a.row_of, t + r)), a.p + ptrdiff_t(r) * a.key_depth,
                          [&](int i) { return e(s + i); });
  }
}

// What the scores of a row hold beyond S: 128 times the sum of its levels.
inline int32_t excess(const QueryRows& a, int r) {
  const uint8_t* q = a.packed_q + ptrdiff_t(r) * a.depth;
  __m128i sums = _mm_setzero_si128();
  for (int c = 0; c < a.depth; c += 16)
    sums = _mm_dpbusd_epi32(sums, _mm_set1_epi8(-128), _mm_load_si128(reinterpret_cast<const __m128i*>(q + c)));
  return sum_of_four(sums);
}

// Scores (or, in their place, logits) to P of queries t..t + rows, and what the sums of products with each are multiplied with.
template <class Exponential>
inline void softmax(const QueryRows& a, const RowEncoders& encoders_p, int t, int rows, const typename Exponential::Greatest* m,
                    float* output_scales) {
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
inline void softmax(const QueryRows& a, const RowEncoders& encoders_p, int t, int rows, float* output_scales) {
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

}  // namespace
}  // namespace fewbit
