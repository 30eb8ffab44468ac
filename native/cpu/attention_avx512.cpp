// AttentionCodes on AVX-512 VNNI: 16 queries in the lanes of a vector, so that maxima and sums of a query are made lane by lane.
//
// Scores stand key by key, [keys][queries], since keys are the rows that are broadcast; P as quads of keys, [keys /
// 4][queries][4], of which a quad is broadcast for the second product. So many queries go together as leave their scores in the
// first-level cache.
#include "cpu/attention_lanes_avx512.h"
#include "cpu/attention_rows_avx512.h"
#include "cpu/implementations.h"
#include "cpu/product_avx512.h"

namespace fewbit {
namespace {

constexpr int kVectors = kMostLaneQueries / 16;  // of queries at once, at most

// All rows, in blocks of nearly as many, times all vectors of columns.
void multiply_all(const uint8_t* x, ptrdiff_t x_row, ptrdiff_t x_step, int rows, NearColumns columns, int vectors, int steps,
                  int32_t* y, ptrdiff_t y_stride) {
  for (int n = 0; n < vectors; n += kProductVectors) {
    const int panels = vectors - n < kProductVectors ? vectors - n : kProductVectors;
    for (int row = 0, blocks = ceil_div(rows, kProductRows); blocks > 0; --blocks) {
      const int block_rows = ceil_div(rows - row, blocks);
      multiply_of<NearColumns>(block_rows, panels)(x + row * x_row, x_row, x_step, columns.behind(n), steps,
                                                   y + row * y_stride + 16 * n, y_stride);
      row += block_rows;
    }
  }
}

// One head of one window, and its buffers.
struct LaneTask : AttentionHead {
  int lane_queries;   // those that stand in lanes; the others, behind them, are few
  int vectors;        // of queries at once, at most
  int channels;       // head_width rounded up to 16
  int quads;          // of keys
  uint8_t* rows_k;    // [tokens][channels]
  uint8_t* packed_q;  // [channels / 4][keys][4]
  uint8_t* packed_v;  // [quads][channels][4]
  uint8_t* p;         // [quads][queries][4]
  int32_t* sums;      // [queries][channels]
  uint8_t* rest;      // scratch for the few

  LaneTask(const AttentionCodes& op, int task, void* scratch)
      : AttentionHead(op, task, kLanes),
        lane_queries(tokens - few_queries(tokens)),
        vectors(block_vectors(tokens)),
        channels(round_up(head_width, 16)),
        quads(ceil_div(tokens, 4)) {
    const ptrdiff_t queries = kLanes * vectors;
    ScratchParts parts(scratch);
    rows_k = parts.take<uint8_t>(ptrdiff_t(tokens) * channels + kSpill);
    packed_q = parts.take<uint8_t>(ptrdiff_t(channels) * keys);
    packed_v = parts.take<uint8_t>(4 * ptrdiff_t(quads) * channels);
    scores = parts.take<int32_t>(queries * tokens);
    p = parts.take<uint8_t>(4 * queries * quads);
    sums = parts.take<int32_t>(queries * channels);
    rest = parts.take<uint8_t>(0);
  }

  // Queries behind the last whole vector that do not get one of their own: a few, and fewer than there are vectors.
  static int few_queries(int tokens) {
    const int vectors = tokens / kLanes, rest = tokens % kLanes;
    return rest <= kMostFewQueries && rest < vectors ? rest : 0;
  }

  static int block_vectors(int tokens) {
    const int vectors = kLaneScoreBytes / (4 * kLanes) / tokens;
    return vectors < 1 ? 1 : vectors < kVectors ? vectors : kVectors;
  }
};

FEWBIT_NOINLINE void copy_k(const LaneTask& a, ptrdiff_t stride) {
  const int tokens = a.tokens, width = a.head_width;
  const ptrdiff_t depth = a.channels;
  const int32_t* const row_of = a.row_of;
  const __mmask64 first = first64(width);
  uint8_t* y = a.rows_k;
  for (int s = 0; s < tokens; ++s, y += depth) {
    const uint8_t* x = a.k + attention_row(row_of, s) * stride;
    _mm512_storeu_si512(y, _mm512_maskz_loadu_epi8(first, x));
    for (int c = 64; c < width; c += 64) _mm512_storeu_si512(y + c, _mm512_maskz_loadu_epi8(first64(width - c), x + c));
  }
}

// What the scores of 16 queries from t on hold beyond S: 128 times the sums of their levels.
inline __m512i excess_of_lanes(const LaneTask& a, int t) {
  __m512i sums = _mm512_setzero_si512();
  const uint8_t* q = a.packed_q + 4 * t;
  for (int c = 0; c < a.head_width; c += 4)
    sums = _mm512_dpbusd_epi32(sums, _mm512_set1_epi8(-128), _mm512_load_si512(q + ptrdiff_t(c) * a.keys));
  return sums;
}

// Lane j: the sum of the lanes of vector j.
inline __m512i lane_sums(__m512i (&v)[16]) {
  for (int i = 0; i < 8; ++i)
    v[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
  for (int i = 0; i < 4; ++i)
    v[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi64(v[2 * i], v[2 * i + 1]));
  const auto fold = [](__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xDD));
  };
  return fold(fold(v[0], v[1]), fold(v[2], v[3]));
}

// Scores of queries by themselves, 16 keys at a time. Behind the last key stands that of the last.
FEWBIT_NOINLINE void scores_of_few(const LaneTask& a, const QueryRows& few) {
  const ptrdiff_t depth = a.channels;
  for (int r = 0; r < few.rows; ++r)
    for (int s = 0; s < a.keys; s += kLanes) {
      __m512i sums[kLanes] = {};
      for (int c = 0; c < depth; c += 64) {
        const __mmask64 mask = first64(a.channels - c);
        const __m512i q = _mm512_maskz_loadu_epi8(mask, few.packed_q + r * depth + c);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
          const uint8_t* k = a.rows_k + (s + i < a.tokens ? s + i : a.tokens - 1) * depth + c;
          sums[i] = _mm512_dpbusd_epi32(sums[i], _mm512_maskz_loadu_epi8(mask, k), q);
        }
      }
      _mm512_store_si512(few.scores + ptrdiff_t(r) * a.keys + s, lane_sums(sums));
    }
}

// Sums to bytes of queries t..t + rows, of heads of 32 channels whose rows have one code: two rows are a vector of bytes.
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

// An op with the codes of its rows, and a task of it that is packed.
class LaneRun {
 public:
  LaneRun(const AttentionCodes& op, int task, void* scratch)
      : op_(op), a_(op, task, scratch), code_p_(head_code(op, a_)), encoders_p_(code_p_), encoders_(op.encode) {
    copy_k(a_, op.k_stride);
    pack_columns(a_, a_.q, op.q_stride, a_.channels, a_.keys, a_.packed_q, true);
    pack_values(a_, op.v_stride, 4 * a_.quads, a_.channels, a_.packed_v);
  }

  // `vectors` of queries from t on.
  void in_lanes(int t, int vectors) {
    const int lanes = kLanes * vectors;
    multiply_all(a_.rows_k, a_.channels, 4, a_.tokens, {a_.packed_q + 4 * t, 4 * ptrdiff_t(a_.keys)}, vectors,
                 ceil_div(a_.head_width, 4), a_.scores, lanes);
    for (int n = 0; n < lanes; n += kLanes) {
      const __m512i beyond = a_.logits ? excess_of_lanes(a_, t + n) : _mm512_setzero_si512();
      const QueryLanes queries{a_, t + n, lanes, a_.scores + n, a_.p + 4 * n, beyond};
      _mm512_store_ps(output_scales_ + n, softmax_of_lanes(queries, code_p_, encoders_p_));
    }
    finish(a_.p, 4, 4 * lanes, t, a_.tokens - t < lanes ? a_.tokens - t : lanes);
  }

  // The queries from t on, which are few.
  FEWBIT_NOINLINE void in_rows(int t) {
    const QueryRows few(a_, a_.tokens - t, a_.channels, round_up(a_.tokens, 16), a_.rest);
    pack_q(few, op_.q_stride, t);
    scores_of_few(a_, few);
    softmax(few, encoders_p_, t, few.rows, output_scales_);
    finish(few.p, few.key_depth, 4, t, few.rows);
  }

  const LaneTask& task() const { return a_; }

 private:
  static Encoder head_code(const AttentionCodes& op, const LaneTask& a) {
    Encoder code = op.encode_p;
    code.inverse_step = a.p_inverse_step;
    return code;
  }

  // The second product, whose quads of P stand at p + row p_row + quad p_step.
  void finish(const uint8_t* p, ptrdiff_t p_row, ptrdiff_t p_step, int t, int rows) {
    multiply_all(p, p_row, p_step, rows, {a_.packed_v, 4 * ptrdiff_t(a_.channels)}, a_.channels / 16, a_.quads, a_.sums,
                 a_.channels);
    if (a_.head_width == 32 && !encoders_.every)
      store_pairs(a_, a_.sums, encoders_.usual, op_.y_stride, t, rows, output_scales_);
    else
      store_rows(a_, a_.sums, a_.channels, encoders_, op_.y_stride, t, rows, output_scales_);
  }

  const AttentionCodes& op_;
  const LaneTask a_;
  const Encoder code_p_;
  const RowEncoders encoders_p_, encoders_;
  alignas(64) float output_scales_[kVectors * kLanes];
};

}  // namespace

void attention_codes_avx512(const AttentionCodes& op, int task, void* scratch) {
  LaneRun run(op, task, scratch);
  const LaneTask& a = run.task();
  int t = 0;
  for (int blocks = ceil_div(ceil_div(a.lane_queries, kLanes), a.vectors); blocks > 0; --blocks) {
    const int vectors = ceil_div(ceil_div(a.lane_queries - t, kLanes), blocks);
    run.in_lanes(t, vectors);
    t += kLanes * vectors;
  }
  if (t < a.tokens) run.in_rows(t);
}

}  // namespace fewbit
