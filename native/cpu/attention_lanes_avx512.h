// Softmax of AttentionCodes with queries in the lanes of a vector: maxima and sums of 16 queries are made lane by lane, and no
// lane is lost behind the last key. The bits are those of attention_softmax_simd.h.
//
// Layouts; a "quad" is four consecutive keys:
//   scores [keys][queries] int32, then logits or e as float in place
//   P      [keys / 4][queries][4]    zeros behind the last key
#pragma once

#include "cpu/attention_parts_avx512.h"

namespace fewbit {
namespace {

constexpr int kLanes = 16;

// 16 queries from t on, those that exist.
struct QueryLanes {
  const AttentionHead& a;
  int t;
  ptrdiff_t stride;  // from key to key, in scores; from quad to quad in dwords
  int32_t* scores;
  uint8_t* p;
  __m512i beyond;  // what scores hold beyond S; for logits only

  Lanes lanes() const { return Lanes(a.tokens - t); }
};

// Codes of P that are all integers up to one that no value reaches beyond: nothing is clamped, since e and e times the factor of
// a query are 0..1.
class PlainWeights {
 public:
  static bool serve(const Encoder& code) {
    return !code.table && code.low <= 0 && code.offset == 0 && code.inverse_step <= static_cast<float>(code.high);
  }
  explicit PlainWeights(float inverse_step) : inverse_step_(set16(inverse_step)) {}

  __m512i operator()(F32x16 y0, F32x16 y1, F32x16 y2, F32x16 y3) const {
    return join_bytes(index(y0), index(y1), index(y2), index(y3));
  }

 private:
  I32x16 index(F32x16 y) const {
    return _mm512_cvt_roundps_epi32(mul(y, inverse_step_), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  F32x16 inverse_step_;
};

// By a table of which no value reaches beyond the end.
class TableWeights {
 public:
  static bool serve(const Encoder& code) {
    return code.table && code.offset == 0 && 2 * code.inverse_step < static_cast<float>(kEncodeTable);
  }
  explicit TableWeights(const EncoderF32x16& encode, float inverse_step) : encode_(encode), scale_(set16(2 * inverse_step)) {}

  __m512i operator()(F32x16 y0, F32x16 y1, F32x16 y2, F32x16 y3) const {
    return encode_.look_up(index(y0), index(y1), index(y2), index(y3));
  }

 private:
  I32x16 index(F32x16 y) const { return _mm512_cvt_roundps_epi32(mul(y, scale_), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
  const EncoderF32x16& encode_;
  F32x16 scale_;
};

// All others; queries of fine rows have a code of their own.
class AnyWeights {
 public:
  AnyWeights(const RowEncoders& encoders, const QueryLanes& q) : usual_(encoders.usual), fine_(encoders.fine) {
    if (!encoders.every) return;
    for (int i = 0; i < kLanes && q.t + i < q.a.tokens; ++i) {
      const ptrdiff_t row = attention_row(q.a.row_of, q.t + i);
      is_fine_ = static_cast<Mask16>(is_fine_ | encoders.is_fine(static_cast<int>(row)) << i);
    }
  }

  __m512i operator()(F32x16 y0, F32x16 y1, F32x16 y2, F32x16 y3) const {
    const __m512i bytes = usual_.quads(y0, y1, y2, y3);
    return is_fine_ ? _mm512_mask_mov_epi32(bytes, is_fine_, fine_.quads(y0, y1, y2, y3)) : bytes;
  }

 private:
  const EncoderF32x16 &usual_, &fine_;
  Mask16 is_fine_ = 0;
};

// P of value(scores of a key) of all keys, and the sums of its codes.
template <class Codes, class Value>
inline I32x16 encode_quads(const QueryLanes& q, const Codes& codes, Value value) {
  const __m512i ones = _mm512_set1_epi8(1);
  const ptrdiff_t stride = q.stride;
  const int32_t* s = q.scores;
  uint8_t* p = q.p;
  I32x16 sums = set16(0);
  const auto add_quad = [&](__m512i bytes) {
    _mm512_store_si512(p, bytes);
    sums = _mm512_dpbusd_epi32(sums, bytes, ones);
  };
  for (int quads = q.a.tokens / 4; quads > 0; --quads, s += 4 * stride, p += 4 * stride)
    add_quad(codes(value(s), value(s + stride), value(s + 2 * stride), value(s + 3 * stride)));
  if (const int rest = q.a.tokens % 4) {
    const F32x16 none = set16(0.0f);
    const F32x16 second = rest > 1 ? value(s + stride) : none, third = rest > 2 ? value(s + 2 * stride) : none;
    add_quad(_mm512_and_si512(codes(value(s), second, third, none), set16((1 << 8 * rest) - 1)));
  }
  return sums;
}

inline I32x16 greatest_of_lanes(const QueryLanes& q) {
  const int32_t* s = q.scores;
  I32x16 m = load(s);
  for (int keys = q.a.tokens; --keys > 0;) m = max(m, load(s += q.stride));
  return m;
}

// Scores to logits, in place; returns the greatest. Keys that are not attended get -infinity, whose exponential is 0. What
// stands in lanes without a query is dropped.
template <bool kBias, bool kRounded, bool kRegions>
FEWBIT_NOINLINE F32x16 logits_of_lanes(const QueryLanes& q) {
  const AttentionHead& a = q.a;
  const F32x16 nowhere = set16(-INFINITY), scale = set16(a.logit_scale), inverse_step = set16(a.logit_inverse_step);
  const I32x16 beyond = q.beyond;
  const Mask16 exist = q.lanes().mask();
  const __m128i regions = kRegions ? _mm_maskz_loadu_epi8(exist, a.regions + q.t) : _mm_setzero_si128();
  const float* bias = kBias ? a.bias_by_key + q.t : nullptr;
  const ptrdiff_t bias_row = bias_by_key_row(a.tokens);
  int32_t* y = q.scores;
  F32x16 most = nowhere;
  for (int s = 0; s < a.tokens; ++s, y += q.stride) {
    F32x16 x = fma(to_floats(sub(load(y), beyond)), scale, kBias ? load(bias) : set16(0.0f));
    if (kBias) bias += bias_row;
    if (kRounded) x = round_between(mul(x, inverse_step), -128.0f, 127.0f);
    if (kRegions) x = select(_mm_cmpeq_epi8_mask(regions, _mm_set1_epi8(static_cast<char>(a.regions[s]))), x, nowhere);
    store(reinterpret_cast<float*>(y), x);
    most = max(most, x);
  }
  return most;
}

inline F32x16 logits_of_lanes(const QueryLanes& q) {
  const AttentionHead& a = q.a;
  const auto logits = [&](auto bias, auto rounded) {
    if (a.regions) return logits_of_lanes<bias.value, rounded.value, true>(q);
    return logits_of_lanes<bias.value, rounded.value, false>(q);
  };
  using Yes = std::true_type;
  using No = std::false_type;
  if (a.bias) return a.logit_inverse_step > 0 ? logits(Yes(), Yes()) : logits(Yes(), No());
  return a.logit_inverse_step > 0 ? logits(No(), Yes()) : logits(No(), No());
}

// tree16 of e: its lanes are keys modulo 16.
inline F32x16 sum_of_lanes(const QueryLanes& q) {
  F32x16 z[16];
  for (int j = 0; j < 16; ++j) {
    z[j] = set16(0.0f);
    for (int s = j; s < q.a.tokens; s += 16) z[j] = add(z[j], load(reinterpret_cast<const float*>(q.scores + s * q.stride)));
  }
  for (int half = 8; half; half /= 2)
    for (int j = 0; j < half; ++j) z[j] = add(z[j], z[j + half]);
  return z[0];
}

// e of the scores, or logits, of a key, of which m are the greatest.
class LanesOfScores {
 public:
  LanesOfScores(const AttentionHead& a, I32x16 m) : m_(m), scale_(set16(a.logit_scale)) {}
  F32x16 operator()(const int32_t* s) const { return exp_nonpositive(mul(to_floats(sub(load(s), m_)), scale_)); }

 private:
  I32x16 m_;
  F32x16 scale_;
};

class LanesOfLogits {
 public:
  LanesOfLogits(const AttentionHead& a, F32x16 m) : m_(m), step_(set16(a.logit_step)) {}
  F32x16 operator()(const int32_t* x) const {
    return exp_nonpositive(mul(sub(load(reinterpret_cast<const float*>(x)), m_), step_));
  }

 private:
  F32x16 m_, step_;
};

// Scores or logits to P; returns what the sums of products with P are multiplied with.
template <class Exponential, class Codes>
FEWBIT_NOINLINE F32x16 weights_of_lanes(const QueryLanes& q, const Exponential& exponential, const Codes& any_codes) {
  const Exponential e = exponential;
  const Codes codes = any_codes;
  const F32x16 one = set16(1.0f), scale = set16(q.a.output_scale);
  if (q.a.relative) {
    const I32x16 sums = encode_quads(q, codes, e);
    return mul(scale, div(one, to_floats(max(sums, set16(1)))));
  }
  for (int32_t *s = q.scores, keys = 0; keys < q.a.tokens; ++keys, s += q.stride) store(reinterpret_cast<float*>(s), e(s));
  // A sum of 0 comes of logits that no float holds; e are 0 then, and so are codes, which a NaN gives in the contract.
  const F32x16 z = sum_of_lanes(q), none = set16(0.0f);
  const F32x16 factor = select(_mm512_cmp_ps_mask(z, none, _CMP_GT_OQ), div(one, z), none);
  encode_quads(q, codes, [&](const int32_t* s) { return mul(load(reinterpret_cast<const float*>(s)), factor); });
  return scale;
}

// Scores to P. code_p: that of encoders.
inline F32x16 softmax_of_lanes(const QueryLanes& q, const Encoder& code_p, const RowEncoders& encoders) {
  const auto by_codes = [&](const auto& e) {
    if (PlainWeights::serve(code_p)) return weights_of_lanes(q, e, PlainWeights(code_p.inverse_step));
    if (TableWeights::serve(code_p) && !encoders.every)
      return weights_of_lanes(q, e, TableWeights(encoders.usual, code_p.inverse_step));
    return weights_of_lanes(q, e, AnyWeights(encoders, q));
  };
  if (q.a.logits) return by_codes(LanesOfLogits(q.a, logits_of_lanes(q)));
  return by_codes(LanesOfScores(q.a, greatest_of_lanes(q)));
}

}  // namespace
}  // namespace fewbit
