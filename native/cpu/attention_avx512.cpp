// AttentionCodes on AVX-512 VNNI: 16 queries in the lanes of a vector, so that maxima and sums of a query are made lane by lane.
//
//   vpdpbusd zmm: 16 x 4 products, two a cycle (Zen 4: one). A block of 6 rows x 4 vectors keeps 24 sums in registers and reads 4
//   vectors and 6 broadcasts for 24 products.
//
// Scores stand key by key, [keys][queries], since keys are the rows that are broadcast; P as quads of keys, [keys / 4][queries][4],
// of which a quad is broadcast for the second product. So many queries go together as leave their scores in the first-level cache.
#include "cpu/attention_lanes_avx512.h"
#include "cpu/attention_parts_avx512.h"
#include "cpu/implementations.h"

namespace fewbit {
namespace {

constexpr int kRows = 6;
constexpr int kVectors = 4;
// Of scores that stay in the first-level cache beside K.
constexpr ptrdiff_t kScoreBytes = 28 << 10;

using Multiply = void (*)(const uint8_t*, ptrdiff_t, ptrdiff_t, const uint8_t*, ptrdiff_t, int, int32_t*, ptrdiff_t);

// y[r][0..16 V) = sum over steps of the quad at x + r x_row + step x_step times the quads b[step][..]: x unsigned, b signed. Every
// loop over the sums is unrolled: gcc 12 keeps them in memory otherwise.
template <int R, int V>
void multiply(const uint8_t* x, ptrdiff_t x_row, ptrdiff_t x_step, const uint8_t* b, ptrdiff_t b_step, int steps, int32_t* y,
              ptrdiff_t y_stride) {
  __m512i sums[R][V];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < V; ++n) sums[r][n] = _mm512_setzero_si512();
  for (int step = 0; step < steps; ++step, x += x_step, b += b_step) {
    __m512i columns[V];
#pragma GCC unroll 4
    for (int n = 0; n < V; ++n) columns[n] = _mm512_load_si512(b + 64 * n);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      int32_t quad;
      std::memcpy(&quad, x + r * x_row, 4);
      const __m512i row = _mm512_set1_epi32(quad);
#pragma GCC unroll 4
      for (int n = 0; n < V; ++n) sums[r][n] = _mm512_dpbusd_epi32(sums[r][n], row, columns[n]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < V; ++n) _mm512_store_si512(y + r * y_stride + 16 * n, sums[r][n]);
}

template <int V>
Multiply multiply_of(int rows) {
  constexpr Multiply table[] = {multiply<1, V>, multiply<2, V>, multiply<3, V>, multiply<4, V>, multiply<5, V>, multiply<6, V>};
  return table[rows - 1];
}

Multiply multiply_of(int rows, int vectors) {
  switch (vectors) {
    case 1:
      return multiply_of<1>(rows);
    case 2:
      return multiply_of<2>(rows);
    case 3:
      return multiply_of<3>(rows);
    default:
      return multiply_of<kVectors>(rows);
  }
}

// All rows of x, in blocks of nearly as many, times columns of b, in vectors.
void multiply(const uint8_t* x, ptrdiff_t x_row, ptrdiff_t x_step, int rows, const uint8_t* b, ptrdiff_t b_step, int vectors,
              int steps, int32_t* y, ptrdiff_t y_stride) {
  for (int n = 0; n < vectors; n += kVectors) {
    const int panel = vectors - n < kVectors ? vectors - n : kVectors;
    for (int row = 0, blocks = ceil_div(rows, kRows); blocks > 0; --blocks) {
      const int block_rows = ceil_div(rows - row, blocks);
      multiply_of(block_rows, panel)(x + row * x_row, x_row, x_step, b + 64 * n, b_step, steps, y + row * y_stride + 16 * n,
                                     y_stride);
      row += block_rows;
    }
  }
}

// One head of one window, and its buffers.
struct LaneTask : AttentionHead {
  int depth, channels, quads;  // bytes of a row of K, a multiple of 16; columns of V, too; of keys
  int vectors;                 // of queries that go together
  uint8_t *rows_k, *packed_q, *packed_v, *p;
  int32_t* sums;

  LaneTask(const AttentionCodes& op, int task, void* scratch)
      : AttentionHead(op, task, kLanes),
        depth(round_up(head_width, 16)),
        channels(round_up(head_width, 16)),
        quads(ceil_div(tokens, 4)) {
    const int all = keys / kLanes;
    const int most = clamp_int(static_cast<int>(kScoreBytes / (4 * kLanes) / tokens), 1, kVectors);
    vectors = ceil_div(all, ceil_div(all, most));
    uint8_t* next = static_cast<uint8_t*>(scratch);
    const auto take = [&next](ptrdiff_t bytes) {
      uint8_t* const begin = next;
      next += (bytes + 63) / 64 * 64;
      return begin;
    };
    packed_q = take(ptrdiff_t(depth) * keys);
    packed_v = take(ptrdiff_t(4) * quads * channels);
    scores = reinterpret_cast<int32_t*>(take(ptrdiff_t(4) * kLanes * vectors * tokens));
    p = take(ptrdiff_t(4) * kLanes * vectors * quads);
    sums = reinterpret_cast<int32_t*>(take(ptrdiff_t(4) * kLanes * vectors * channels));
    rows_k = take(ptrdiff_t(tokens) * depth + kSpill);
  }
  static int clamp_int(int x, int low, int high) { return x < low ? low : x > high ? high : x; }
};

FEWBIT_NOINLINE void copy_k(const LaneTask& a, ptrdiff_t stride) {
  const int tokens = a.tokens, width = a.head_width;
  const ptrdiff_t depth = a.depth;
  const int32_t* const row_of = a.row_of;
  const __mmask64 first = first64(width);
  uint8_t* y = a.rows_k;
  for (int s = 0; s < tokens; ++s, y += depth) {
    const uint8_t* x = a.k + attention_row(row_of, s) * stride;
    _mm512_storeu_si512(y, _mm512_maskz_loadu_epi8(first, x));
    for (int c = 64; c < width; c += 64) _mm512_storeu_si512(y + c, _mm512_maskz_loadu_epi8(first64(width - c), x + c));
  }
}

inline __m512i excess(const LaneTask& a, int t) {
  __m512i sums = _mm512_setzero_si512();
  const uint8_t* q = a.packed_q + 4 * t;
  for (int c = 0; c < a.head_width; c += 4)
    sums = _mm512_dpbusd_epi32(sums, _mm512_set1_epi8(-128), _mm512_load_si512(q + ptrdiff_t(c) * a.keys));
  return sums;
}

}  // namespace

void attention_codes_avx512(const AttentionCodes& op, int task, void* scratch) {
  const LaneTask a(op, task, scratch);
  Encoder code_p = op.encode_p;
  code_p.inverse_step = a.p_inverse_step;
  const RowEncoders encoders_p(code_p), encoders(op.encode);
  copy_k(a, op.k_stride);
  pack_columns(a, a.q, op.q_stride, a.depth, a.keys, a.packed_q, true);
  pack_values(a, op.v_stride, 4 * a.quads, a.channels, a.packed_v);
  float output_scales[kVectors * kLanes];
  for (int t = 0, vectors; t < a.tokens; t += kLanes * vectors) {
    const int left = ceil_div(a.tokens - t, kLanes);
    vectors = ceil_div(left, ceil_div(left, a.vectors));
    const int lanes = kLanes * vectors;
    multiply(a.rows_k, a.depth, 4, a.tokens, a.packed_q + 4 * t, 4 * ptrdiff_t(a.keys), vectors, ceil_div(a.head_width, 4), a.scores, lanes);
    for (int n = 0; n < vectors; ++n)
      _mm512_storeu_ps(output_scales + kLanes * n, softmax(QueryLanes{a, t + kLanes * n, lanes, a.scores + kLanes * n, a.p + 64 * n, a.logits ? excess(a, t + kLanes * n) : __m512i()}, code_p, encoders_p));
    const int rows = a.tokens - t < lanes ? a.tokens - t : lanes;
    multiply(a.p, 4, 4 * lanes, rows, a.packed_v, 4 * ptrdiff_t(a.channels), a.channels / 16, a.quads, a.sums, a.channels);
    if (a.head_width == 32 && !encoders.every) store_pairs(a, a.sums, encoders.usual, op.y_stride, t, rows, output_scales);
    else store_rows(a, a.sums, a.channels, encoders, op.y_stride, t, rows, output_scales);
  }
}

}  // namespace fewbit
