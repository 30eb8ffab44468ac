// AttentionCodes between its two products: from scores to exponentials, 16 keys at a time. Include simd_avx512.h or simd_avx2.h
// first.
#pragma once

#include <type_traits>

#include <math.h>  // not <cmath>: its inline functions would be compiled with these flags for everybody

#include "cpu/attention_sizes.h"
#include "ops/attention.h"

namespace fewbit {
namespace {

// One head of one window. A block of scores is [rows][keys] int32, then logits or e as float in place.
struct AttentionHead {
  int tokens, head_width;
  int keys;  // tokens rounded up, a multiple of 16
  const uint8_t *q, *k, *v;
  uint8_t* y;
  const int32_t* row_of;     // null, or the row of each token
  const float* bias;         // null, or [tokens][tokens]
  const float* bias_by_key;  // null, or [tokens][bias_by_key_row(tokens)]
  const uint8_t* regions;    // null when no two differ
  bool logits;               // softmax of float logits
  bool relative;
  float logit_scale, logit_inverse_step, logit_step, output_scale;
  float p_inverse_step;
  int32_t* scores;

  AttentionHead(const AttentionCodes& op, int task, int columns)
      : tokens(op.tokens), head_width(op.head_width), keys(round_up(op.tokens, columns)) {
    const AttentionPlace place = attention_place(op, task);
    const int b = place.image, h = place.head;
    row_of = place.rows;
    bias = place.bias;
    bias_by_key =
        bias && op.windows.bias_by_key ? op.windows.bias_by_key + ptrdiff_t(h) * tokens * bias_by_key_row(tokens) : nullptr;
    regions = parting_regions(place.regions, tokens);
    logits = attention_has_logits(op);
    relative = op.relative;
    q = op.q + b * op.q_image_stride + h * head_width;
    k = op.k + b * op.k_image_stride + h * head_width;
    v = op.v + b * op.v_image_stride + h * head_width;
    y = op.y + b * op.y_image_stride + h * head_width;
    logit_scale = op.logit_scale[h];
    logit_inverse_step = op.logit_inverse_step;
    logit_step = op.logit_inverse_step > 0 ? op.logit_step : 1.0f;
    output_scale = op.output_scale[h];
    p_inverse_step = op.p_inverse_step[h];
  }
};

// Softmax works step by step for all rows of a block, so that the chains of one row (maximum, sum, division) hide behind the
// work of the others.
constexpr int kMostRows = 32;

// The greatest score of each row. A lane behind the last key takes no part.
FEWBIT_NOINLINE void maxima(const AttentionHead& a, int rows, int32_t* m) {
  const int last = (a.tokens - 1) & ~15;
  const Mask16 rest = Lanes(a.tokens - last).mask();
  for (int r = 0; r < rows; ++r) {
    const int32_t* s = a.scores + ptrdiff_t(r) * a.keys;
    I32x16 most = select(rest, load(s + last), set16(INT32_MIN));
    for (int i = 0; i < last; i += 16) most = max(most, load(s + i));
    m[r] = reduce_max(most);
  }
}

// Scores to logits, in place, of queries t..t + rows, and the greatest of each row; beyond: what the scores of each hold beyond
// S. Lanes behind the last key and keys that are not attended get -infinity, whose exponential is 0. Compiled for what an op has,
// so that nothing is asked for each vector.
template <bool kBias, bool kRounded, bool kRegions>
FEWBIT_NOINLINE void logits_of_scores(const AttentionHead& a, int t, int rows, const int32_t* beyond, float* m) {
  const int last = (a.tokens - 1) & ~15;
  const Lanes all(16), rest(a.tokens - last);
  const F32x16 nowhere = set16(-INFINITY), zero = set16(0.0f);
  const F32x16 scale = set16(a.logit_scale), inverse_step = set16(a.logit_inverse_step);
  for (int r = 0; r < rows; ++r) {
    const int32_t* s = a.scores + ptrdiff_t(r) * a.keys;
    float* y = reinterpret_cast<float*>(a.scores) + ptrdiff_t(r) * a.keys;
    const float* bias = kBias ? a.bias + ptrdiff_t(t + r) * a.tokens : nullptr;
    const I32x16 beyond16 = set16(beyond[r]);
    const auto logits = [&](int i, const Lanes& lanes) {
      const F32x16 x = fma(to_floats(sub(load(s + i), beyond16)), scale, kBias ? load(bias + i, lanes) : zero);
      return kRounded ? round_between(mul(x, inverse_step), -128.0f, 127.0f) : x;
    };
    const auto attended = [&](int i, const Lanes& lanes) { return equal_bytes(lanes, a.regions + i, a.regions[t + r]); };
    F32x16 most = nowhere;
    for (int i = 0; i < last; i += 16) {
      F32x16 x = logits(i, all);
      if (kRegions) x = select(attended(i, all), x, nowhere);
      store(y + i, x);
      most = max(most, x);
    }
    const F32x16 x = select(kRegions ? attended(last, rest) : rest.mask(), logits(last, rest), nowhere);
    store(y + last, x);
    m[r] = reduce_max(max(most, x));
  }
}

// The same for what an op has.
inline void logits_of_scores(const AttentionHead& a, int t, int rows, const int32_t* beyond, float* m) {
  const auto logits = [&](auto bias, auto rounded) {
    (a.regions ? logits_of_scores<bias.value, rounded.value, true>
               : logits_of_scores<bias.value, rounded.value, false>)(a, t, rows, beyond, m);
  };
  using Yes = std::true_type;
  using No = std::false_type;
  if (a.bias && a.logit_inverse_step > 0)
    logits(Yes(), Yes());
  else if (a.bias)
    logits(Yes(), No());
  else if (a.logit_inverse_step > 0)
    logits(No(), Yes());
  else
    logits(No(), No());
}

// e of 16 keys of a row whose greatest score, or logit, is m.
class OfScores {
 public:
  using Greatest = int32_t;
  OfScores(const AttentionHead& a, int32_t m) : m_(set16(m)), scale_(set16(a.logit_scale)) {}
  F32x16 operator()(const int32_t* s) const { return exp_nonpositive(mul(to_floats(sub(load(s), m_)), scale_)); }

 private:
  I32x16 m_;
  F32x16 scale_;
};

class OfLogits {
 public:
  using Greatest = float;
  OfLogits(const AttentionHead& a, float m) : m_(set16(m)), step_(set16(a.logit_step)) {}
  F32x16 operator()(const int32_t* x) const {
    return exp_nonpositive(mul(sub(load(reinterpret_cast<const float*>(x)), m_), step_));
  }

 private:
  F32x16 m_, step_;
};

// Scores or logits to e, in place, and 1 / z of each row. A lane behind the last key adds +0 to the sum.
template <class Exponential>
FEWBIT_NOINLINE void exponentials(const AttentionHead& a, int rows, const typename Exponential::Greatest* m, float* inverse_z) {
  const int last = (a.tokens - 1) & ~15;
  const Mask16 rest = Lanes(a.tokens - last).mask();
  F32x16 zs[kMostRows];
  for (int r = 0; r < rows; ++r) {
    const Exponential e(a, m[r]);
    const int32_t* s = a.scores + ptrdiff_t(r) * a.keys;
    float* y = reinterpret_cast<float*>(a.scores) + ptrdiff_t(r) * a.keys;
    F32x16 z = set16(0.0f);
    for (int i = 0; i < last; i += 16) {
      const F32x16 e16 = e(s + i);
      z = add(z, e16);
      store(y + i, e16);
    }
    const F32x16 e16 = select(rest, e(s + last), set16(0.0f));
    store(y + last, e16);
    zs[r] = add(z, e16);
  }
  for (int r = 0; r < rows; ++r) inverse_z[r] = 1.0f / tree16(zs[r]);
}

}  // namespace
}  // namespace fewbit
