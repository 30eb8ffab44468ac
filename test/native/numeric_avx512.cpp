// Vector and scalar arithmetic are one function: bits, not tolerances.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/simd_avx512.h"
#include "ops/numeric.h"

using namespace fewbit;

namespace {

bool runs() {
  const Path* path = find_path("avx512vnni");
  return path && path->runs;
}

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

bool same(float a, float b) { return bits_of(a) == bits_of(b) || (a != a && b != b); }

// Every 9973rd bit pattern, and all around zero, denormals, infinities, NaN.
std::vector<float> sweep() {
  std::vector<uint32_t> patterns;
  for (uint64_t i = 0; i < (1ull << 32); i += 9973) patterns.push_back(static_cast<uint32_t>(i));
  for (uint32_t sign : {0u, 0x80000000u})
    for (uint32_t centre : {0u, 0x00800000u, 0x3f000000u, 0x3f800000u, 0x42ae0000u, 0x43000000u, 0x7f800000u, 0x7fc00000u})
      for (int d = -40; d <= 40; ++d) patterns.push_back(sign | ((centre + d) & 0x7fffffffu));
  while (patterns.size() % 64) patterns.push_back(0);
  std::vector<float> values(patterns.size());
  std::memcpy(values.data(), patterns.data(), 4 * patterns.size());
  return values;
}

template <class Vector, class Scalar>
void compare(const std::vector<float>& values, Vector vector, Scalar scalar) {
  float y[16];
  for (size_t i = 0; i < values.size(); i += 16) {
    _mm512_storeu_ps(y, vector(_mm512_loadu_ps(&values[i])));
    for (int j = 0; j < 16; ++j)
      if (!same(y[j], scalar(values[i + j]))) {
        FAIL("x bits ", bits_of(values[i + j]), ": vector ", bits_of(y[j]), ", scalar ", bits_of(scalar(values[i + j])));
      }
  }
}

void compare(const std::vector<float>& values, const Encoder& code) {
  const EncoderF32x16 vector(code);
  uint8_t one[64], four[64];
  for (size_t i = 0; i < values.size(); i += 64) {
    __m512 v[4];
    for (int k = 0; k < 4; ++k) {
      v[k] = _mm512_loadu_ps(&values[i + 16 * k]);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(one + 16 * k), vector(v[k]));
    }
    _mm512_storeu_si512(four, vector(v[0], v[1], v[2], v[3]));
    for (int j = 0; j < 64; ++j) {
      const int want = encode(code, values[i + j]);
      if (one[j] != want || four[j] != want)
        FAIL("x bits ", bits_of(values[i + j]), ": ", int(one[j]), ", ", int(four[j]), ", scalar ", want);
    }
  }
}

}  // namespace

TEST_CASE("gelu_f32x16 is gelu") {
  if (!runs()) return;
  compare(sweep(), gelu_f32x16, gelu);
}

TEST_CASE("exp_nonpositive_f32x16 is exp_nonpositive") {
  if (!runs()) return;
  std::vector<float> values = sweep();
  for (float& x : values) x = -std::fabs(x);  // positive arguments have no meaning
  compare(values, exp_nonpositive_f32x16, exp_nonpositive);
}

TEST_CASE("EncoderF32x16 is encode") {
  if (!runs()) return;
  std::mt19937 random(1);
  std::vector<uint8_t> table(kEncodeTable);
  for (uint8_t& byte : table) byte = static_cast<uint8_t>(random());
  std::vector<float> values = sweep();
  std::uniform_real_distribution<float> near(-300.0f, 300.0f);
  for (int i = 0; i < 1 << 16; ++i) values.push_back(near(random));
  for (int i = -2048; i < 2048; ++i) values.push_back(i * 0.25f);
  for (int offset : {0, 128})
    for (float inverse_step : {1.0f, 0.37f, 1e30f, 1e-30f}) {
      const int low = -offset, high = 255 - offset;
      compare(values, {inverse_step, low, high, offset, nullptr});
      compare(values, {inverse_step, offset ? -8 : 0, 7, offset, nullptr});
      compare(values, {inverse_step, low, high, offset, table.data()});
    }
}

TEST_CASE("tree16 of a vector is tree16 of its lanes") {
  if (!runs()) return;
  std::mt19937 random(2);
  std::uniform_real_distribution<float> value(-1e3f, 1e3f);
  for (int i = 0; i < 1000; ++i) {
    float lanes[16];
    for (float& lane : lanes) lane = value(random) * std::exp2(float(random() % 40) - 20.0f);
    REQUIRE(same(tree16(_mm512_loadu_ps(lanes)), tree16(lanes)));
  }
}
