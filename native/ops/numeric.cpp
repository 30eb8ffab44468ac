// Scalar evaluation; cpu/simd_avx512.h repeats each of these operations in the same order.
#include "ops/numeric.h"

#include "ops/numeric_constants.h"

namespace fewbit {
namespace {

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// The segment of |x| in kGelu and the place in it.
struct GeluSegment {
  int n;
  float f;
};

GeluSegment gelu_segment(float x) {
  const float a = float_of(bits_of(x) & 0x7FFFFFFFu);
  float z = a * kGeluSegmentsPerUnit;
  const float last = kGeluSegments - 1;
  z = last < z ? last : z;  // a NaN stays
  const float shifted = z + kRoundMagic;
  return {static_cast<int>(bits_of(shifted) & (kGeluSegments - 1)), z - (shifted - kRoundMagic)};
}

}  // namespace

float exp_nonpositive(float x) {
  if (!(x >= kExpLowest)) return 0.0f;  // also a NaN
  const float shifted = std::fma(x, kLog2E, kRoundMagic);
  const float n = shifted - kRoundMagic;
  const float r = std::fma(n, -kLn2Low, std::fma(n, -kLn2High, x));
  float p = kExp[4];
  for (int i = 3; i >= 0; --i) p = std::fma(p, r, kExp[i]);
  p = std::fma(p, r, 1.0f);
  p = std::fma(p, r, 1.0f);
  // The low bits of `shifted` are n in two's complement; the shift drops all others and leaves n in the exponent's place.
  return float_of(bits_of(p) + (bits_of(shifted) << 23));
}

float gelu(float x) {
  const auto [n, f] = gelu_segment(x);
  float r = std::fma(kGelu[3][n], f, kGelu[2][n]);
  r = std::fma(r, f, kGelu[1][n]);
  r = std::fma(r, f, kGelu[0][n]);
  const float positive = 0.0f > x ? 0.0f : x;  // a NaN stays
  return positive - r;
}

float gelu_slope(float x) {
  const auto [n, f] = gelu_segment(x);
  float r = std::fma(3.0f * kGelu[3][n], f, 2.0f * kGelu[2][n]);
  r = std::fma(r, f, kGelu[1][n]) * kGeluSegmentsPerUnit;
  return x > 0.0f ? 1.0f - r : r;
}

}  // namespace fewbit
