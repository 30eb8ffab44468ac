// The scalar polynomials against long double, over a dense sweep.
#include "ops/numeric.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <vector>

using namespace fewbit;

namespace {

float next(float x, int steps) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits += steps;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace

TEST_CASE("gelu is within its bound of x (1 + erf(x / sqrt 2)) / 2") {
  long double worst = 0, worst_at = 0, relative = 0;
  // Steps of 997 bit patterns from 1e-30 to 1e4, both signs.
  for (float a = 1e-30f; a < 1e4f; a = next(a, 997))
    for (float x : {a, -a}) {
      const long double want = 0.5L * x * std::erfc(-x / std::sqrt(2.0L));
      const long double error = std::fabs(gelu(x) - want) / std::max(1.0L, std::fabs((long double)x));
      if (error > worst) worst = error, worst_at = x;
      if (a < 1e-6f) relative = std::max(relative, std::fabs(gelu(x) - want) / std::fabs(want));
    }
  INFO("worst at ", double(worst_at));
  CHECK(double(worst) < 1e-6);
  CHECK(double(relative) < 1e-6);  // gelu(x) -> x / 2
  MESSAGE("gelu: largest error / max(1, |x|) ", double(worst), ", relative below 1e-6 ", double(relative));
}

TEST_CASE("gelu at special values") {
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(gelu(0.0f) == 0.0f);
  CHECK(gelu(infinity) == infinity);
  CHECK(gelu(-infinity) == 0.0f);
  CHECK(gelu(1e38f) == 1e38f);
  CHECK(gelu(-1e38f) == 0.0f);
  CHECK(gelu(6.0f) == 6.0f);
  CHECK(std::isnan(gelu(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("gelu_slope is within its bound of the derivative of gelu") {
  long double worst = 0, worst_at = 0;
  for (float a = 1e-30f; a < 1e4f; a = next(a, 997))
    for (float x : {a, -a}) {
      const long double density = std::exp(-0.5L * x * x) / std::sqrt(2 * std::acos(-1.0L));
      const long double error = std::fabs(gelu_slope(x) - (0.5L * std::erfc(-x / std::sqrt(2.0L)) + x * density));
      if (error > worst) worst = error, worst_at = x;
    }
  INFO("worst at ", double(worst_at));
  CHECK(double(worst) < 1e-4);
  MESSAGE("gelu_slope: largest error ", double(worst));
  CHECK(gelu_slope(0.0f) == 0.5f);
  CHECK(gelu_slope(std::numeric_limits<float>::infinity()) == 1.0f);
  CHECK(gelu_slope(-std::numeric_limits<float>::infinity()) == 0.0f);
  CHECK(std::isnan(gelu_slope(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("exp_nonpositive is within its bound of exp") {
  long double worst = 0, worst_at = 0;
  for (float a = 1e-30f; a <= 87.0f; a = next(a, 97)) {
    const long double want = std::exp(-(long double)a);
    const long double error = std::fabs(exp_nonpositive(-a) - want) / want;
    if (error > worst) worst = error, worst_at = a;
  }
  INFO("worst at ", -double(worst_at));
  CHECK(double(worst) < 2e-7);
  MESSAGE("exp: largest relative error ", double(worst));
}

TEST_CASE("exp_nonpositive at special values") {
  CHECK(exp_nonpositive(0.0f) == 1.0f);
  CHECK(exp_nonpositive(-0.0f) == 1.0f);
  CHECK(exp_nonpositive(-87.0f) > 1.17549435e-38f);
  CHECK(exp_nonpositive(std::nextafterf(-87.0f, -100.0f)) == 0.0f);
  CHECK(exp_nonpositive(-std::numeric_limits<float>::infinity()) == 0.0f);
  CHECK(exp_nonpositive(std::numeric_limits<float>::quiet_NaN()) == 0.0f);
  // Monotonic enough for a softmax: never above 1.
  for (float a = 1e-10f; a < 1.0f; a = next(a, 1009)) REQUIRE(exp_nonpositive(-a) <= 1.0f);
}

TEST_CASE("encode rounds half to even, clamps, and a NaN gives the lowest level") {
  const Encoder code{2.0f, -8, 7, 128, nullptr};  // step 1/2
  CHECK(encode(code, 0.25f) == 128);              // 0.5 -> 0
  CHECK(encode(code, 0.75f) == 130);              // 1.5 -> 2
  CHECK(encode(code, -0.75f) == 126);
  CHECK(encode(code, 100.0f) == 135);
  CHECK(encode(code, -100.0f) == 120);
  CHECK(encode(code, std::numeric_limits<float>::quiet_NaN()) == 120);
  CHECK(encode(code, std::numeric_limits<float>::infinity()) == 135);
}

TEST_CASE("encode by table finds the nearest level exactly, midpoints go up") {
  const std::vector<int> levels = {-100, -16, -3, -1, 0, 2, 5, 127};
  std::vector<uint8_t> table(kEncodeTable);
  for (int i = 0; i < kEncodeTable; ++i) {
    // Entry i serves 2 v in [i - 256, i - 255): any point inside, 1/4 above its start, has the same nearest level.
    const double v = (i - 256) / 2.0 + 0.125;
    int best = levels[0];
    for (int level : levels)
      if (std::fabs(level - v) < std::fabs(best - v)) best = level;
    table[i] = static_cast<uint8_t>(best + 128);
  }
  const Encoder code{4.0f, -100, 127, 128, table.data()};
  for (int i = -2000; i <= 2000; ++i) {
    const double v = i / 16.0;
    int best = levels[0];
    for (int level : levels)
      if (std::fabs(level - v) <= std::fabs(best - v)) best = level;  // ascending: the later of two equals is the upper
    REQUIRE(int(encode(code, float(v / 4))) == best + 128);
  }
  CHECK(encode(code, std::numeric_limits<float>::quiet_NaN()) == 28);
}

TEST_CASE("tree16 adds lanes j and j + 8 first") {
  // 1e8 + 1 is lost in float32, -1e8 + 1e8 is not.
  float lanes[16] = {1e8f, 1, 0, 0, 0, 0, 0, 0, -1e8f, 1};
  CHECK(tree16(lanes) == 2.0f);
}
