// native/ops/numeric.h on the device, bit for bit: the same polynomials, roundings and summation tree. The build forbids
// contraction (--fmad=false), divisions and square roots are the IEEE ones.
#pragma once

#include <cstdint>

#include "ops/encode.h"
#include "ops/numeric_constants.h"

namespace fewbit::cuda {

// Round half to even; |x| < 2^22.
__device__ static inline int round_even(float x) { return __float2int_rn(x); }

// A NaN in x gives the bound: max and min of CUDA return the other operand.
__device__ static inline float clamp(float x, float low, float high) { return fminf(fmaxf(x, low), high); }

// Whether all integers low..high are levels in row t, though there may be a table.
__device__ static inline bool is_fine(const Encoder& code, unsigned t) { return code.fine_every && t % code.fine_every == 0; }

__device__ static inline const uint8_t* table_of_row(const Encoder& code, unsigned t) {
  return is_fine(code, t) ? nullptr : code.table;
}

// v: the value times the inverse step.
__device__ static inline uint8_t encode_scaled(const Encoder& code, float v) {
  if (!code.table) return static_cast<uint8_t>(round_even(clamp(v, float(code.low), float(code.high))) + code.offset);
  const float i = clamp(floorf(2.0f * v) + float(2 * code.offset), 0.0f, float(kEncodeTable - 1));
  return code.table[static_cast<int>(i)];
}

__device__ static inline uint8_t encode(const Encoder& code, float x) { return encode_scaled(code, x * code.inverse_step); }

__device__ static inline float round_to(const Rounding& code, float x) {
  return rintf(clamp(x * code.inverse_step, float(code.low), float(code.high))) * code.step;
}

// With a step that is `factor`, a power of two, times as large.
__device__ static inline float round_to(const Rounding& code, float x, float factor) {
  return round_to(code, x * __frcp_rn(factor)) * factor;
}

// exp(x) for x <= 0; 0 below -87 and for a NaN.
__device__ static inline float exp_nonpositive(float x) {
  const float shifted = __fmaf_rn(x, kLog2E, kRoundMagic);
  const float n = shifted - kRoundMagic;
  const float r = __fmaf_rn(n, -kLn2Low, __fmaf_rn(n, -kLn2High, x));
  float p = 0.00138436444f;
  p = __fmaf_rn(p, r, 0.00837416295f);
  p = __fmaf_rn(p, r, 0.0416680016f);
  p = __fmaf_rn(p, r, 0.166664317f);
  p = __fmaf_rn(p, r, 0.49999994f);
  p = __fmaf_rn(p, r, 1.0f);
  p = __fmaf_rn(p, r, 1.0f);
  const float e = __uint_as_float(__float_as_uint(p) + (__float_as_uint(shifted) << 23));
  return x >= kExpLowest ? e : 0.0f;
}

// kGelu with the four coefficients of a segment side by side: one load a value.
struct GeluSegments {
  float4 coefficients[kGeluSegments];
};
constexpr GeluSegments gelu_segments() {
  GeluSegments all{};
  for (int n = 0; n < kGeluSegments; ++n) all.coefficients[n] = {kGelu[0][n], kGelu[1][n], kGelu[2][n], kGelu[3][n]};
  return all;
}
static __device__ const GeluSegments kGeluSegmentTable = gelu_segments();

// The segment of |x| and the place in it; a NaN lies in the last, at the place NaN.
__device__ static inline int gelu_segment(float x, float* place) {
  const float a = fabsf(x) * kGeluSegmentsPerUnit;
  const float z = a > float(kGeluSegments - 1) ? float(kGeluSegments - 1) : a;
  const float shifted = z + kRoundMagic;
  *place = z - (shifted - kRoundMagic);
  return __float_as_uint(shifted) & (kGeluSegments - 1);
}

__device__ static inline float gelu(float x) {
  float f;
  const float4 c = kGeluSegmentTable.coefficients[gelu_segment(x, &f)];
  const float r = __fmaf_rn(__fmaf_rn(__fmaf_rn(c.w, f, c.z), f, c.y), f, c.x);
  return (0.0f > x ? 0.0f : x) - r;
}

__device__ static inline float gelu_slope(float x) {
  float f;
  const float4 c = kGeluSegmentTable.coefficients[gelu_segment(x, &f)];
  const float r = __fmaf_rn(__fmaf_rn(3.0f * c.w, f, 2.0f * c.z), f, c.y) * kGeluSegmentsPerUnit;
  return x > 0.0f ? 1.0f - r : r;
}

// tree16 of the 16 lanes that the threads of a half warp hold, lane j in thread j; every thread gets the sum.
__device__ static inline float tree16(float lane) {
  for (int half = 8; half; half /= 2) lane = lane + __shfl_xor_sync(0xFFFFFFFFu, lane, half);
  return lane;
}

// Over the threads of a warp; every thread gets the result.
template <class T>
__device__ static inline T warp_sum(T value) {
  for (int half = 16; half; half /= 2) value = value + __shfl_xor_sync(0xFFFFFFFFu, value, half);
  return value;
}
template <class T>
__device__ static inline T warp_max(T value) {
  for (int half = 16; half; half /= 2) value = max(value, __shfl_xor_sync(0xFFFFFFFFu, value, half));
  return value;
}

}  // namespace fewbit::cuda
