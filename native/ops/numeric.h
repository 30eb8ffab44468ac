// The scalar arithmetic that every CPU path repeats bit for bit: fixed polynomials, one rounding rule, one summation tree.
// fma is written where it is meant; the build forbids the compiler to contract anything else.
// static: see packed_weight.h; no AVX-512 copy of these may stand in for the portable one.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ops/encode.h"

namespace fewbit {

// Round half to even; |x| < 2^22.
static inline int round_even(float x) { return static_cast<int>(std::nearbyintf(x)); }

// max and min as the x86 vector instructions define them: a NaN in x gives the bound.
static inline float clamp(float x, float low, float high) {
  x = x > low ? x : low;
  return x < high ? x : high;
}

// v: the value times the inverse step.
static inline uint8_t encode_scaled(const Encoder& code, float v) {
  if (!code.table) return static_cast<uint8_t>(round_even(clamp(v, float(code.low), float(code.high))) + code.offset);
  const float i = clamp(std::floor(2.0f * v) + float(2 * code.offset), 0.0f, float(kEncodeTable - 1));
  return code.table[static_cast<int>(i)];
}

static inline uint8_t encode(const Encoder& code, float x) { return encode_scaled(code, x * code.inverse_step); }

static inline uint8_t encode(const Encoder& code, float x, ptrdiff_t column) {
  return encode_scaled(code, x * (code.inverse_steps ? code.inverse_steps[column] : code.inverse_step));
}

static inline float round_to(const Rounding& code, float x) {
  return std::nearbyintf(clamp(x * code.inverse_step, float(code.low), float(code.high))) * code.step;
}

// With a step that is `factor`, a power of two, times as large.
static inline float round_to(const Rounding& code, float x, float factor) { return round_to(code, x / factor) * factor; }

// ((l0+l8) + (l4+l12)) ... : lanes j and j + 8 are added, then j and j + 4, j + 2, j + 1.
static inline float tree16(const float lanes[16]) {
  float s[16];
  std::memcpy(s, lanes, sizeof s);
  for (int half = 8; half; half /= 2)
    for (int j = 0; j < half; ++j) s[j] = s[j] + s[j + half];
  return s[0];
}

// exp(x) for x <= 0, relative error below 2e-7 where the result is normal; 0 below -87.
float exp_nonpositive(float x);

// x * (1 + erf(x / sqrt 2)) / 2, absolute error below 1e-6 * max(1, |x|).
float gelu(float x);

// The derivative of gelu, absolute error below 1e-4: the slope of the polynomial that gelu evaluates.
float gelu_slope(float x);

}  // namespace fewbit
