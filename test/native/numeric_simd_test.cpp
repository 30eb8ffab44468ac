// Vector and scalar arithmetic are one function: bits, not tolerances.
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <vector>

#include "cpu/kernels.h"
#include "ops/numeric.h"
#include "simd_arrays.h"

#if FEWBIT_X86

using namespace fewbit;

namespace {

std::vector<SimdArrays> vocabularies() {
  std::vector<SimdArrays> list;
  for (const SimdArrays& arrays : {simd_arrays_avx2(), simd_arrays_avx512()})
    if (find_path(arrays.path)->runs) list.push_back(arrays);
  return list;
}

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

bool same(float a, float b) { return bits_of(a) == bits_of(b) || (a != a && b != b); }

// Every 9973rd bit pattern, and all around zero, the denormals, 0.5, 1, 87, 128, infinity and NaN.
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
  std::vector<float> y(values.size());
  vector(values.data(), y.data(), static_cast<int>(values.size()));
  for (size_t i = 0; i < values.size(); ++i)
    if (!same(y[i], scalar(values[i])))
      FAIL("x bits ", bits_of(values[i]), ": vector ", bits_of(y[i]), ", scalar ", bits_of(scalar(values[i])));
}

void compare(const SimdArrays& simd, const std::vector<float>& values, const Encoder& code) {
  const int count = static_cast<int>(values.size());
  std::vector<uint8_t> y(count);
  for (const auto run : {simd.encode, simd.encode_by_64}) {
    if (!run) continue;
    run(code, values.data(), y.data(), count);
    for (int i = 0; i < count; ++i)
      if (y[i] != encode(code, values[i]))
        FAIL("x bits ", bits_of(values[i]), ": ", int(y[i]), ", scalar ", encode(code, values[i]));
  }
}

}  // namespace

TEST_CASE("gelu of vectors is gelu") {
  for (const SimdArrays& simd : vocabularies()) {
    CAPTURE(simd.path);
    compare(sweep(), simd.gelu, gelu);
    compare(sweep(), simd.gelu_slope, gelu_slope);
  }
}

TEST_CASE("exp_nonpositive of vectors is exp_nonpositive") {
  std::vector<float> values = sweep();
  for (float& x : values) x = -std::fabs(x);  // positive arguments have no meaning
  for (const SimdArrays& simd : vocabularies()) {
    CAPTURE(simd.path);
    compare(values, simd.exp, exp_nonpositive);
  }
}

TEST_CASE("EncoderF32x16 is encode") {
  std::mt19937 random(1);
  std::vector<uint8_t> table(kEncodeTable);
  for (uint8_t& byte : table) byte = static_cast<uint8_t>(random());
  std::vector<float> values = sweep();
  std::uniform_real_distribution<float> near(-300.0f, 300.0f);
  for (int i = 0; i < 1 << 16; ++i) values.push_back(near(random));
  for (int i = -2048; i < 2048; ++i) values.push_back(i * 0.25f);
  for (const SimdArrays& simd : vocabularies())
    for (int offset : {0, 38, 128})
      for (float inverse_step : {1.0f, 0.37f, 1e30f, 1e-30f}) {
        CAPTURE(simd.path);
        const int low = -offset, high = 255 - offset;
        compare(simd, values, {inverse_step, low, high, offset, nullptr});
        compare(simd, values, {inverse_step, offset ? -8 : 0, 7, offset, nullptr});
        compare(simd, values, {inverse_step, low, high, offset, table.data()});
      }
}

TEST_CASE("tree16 of a vector is tree16 of its lanes") {
  for (const SimdArrays& simd : vocabularies()) {
    CAPTURE(simd.path);
    std::mt19937 random(2);
    std::uniform_real_distribution<float> value(-1e3f, 1e3f);
    for (int i = 0; i < 1000; ++i) {
      float lanes[16];
      for (float& lane : lanes) lane = value(random) * std::exp2(float(random() % 40) - 20.0f);
      REQUIRE(same(simd.tree16(lanes), tree16(lanes)));
    }
  }
}

#endif
