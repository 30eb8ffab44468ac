#include "plan/finite_input.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

using namespace fewbit;

namespace {

// More than one task, and a last one that is not whole.
constexpr int64_t kImages = 3, kImageValues = 200003;

std::string complaint(const std::vector<float>& input, int threads) {
  Team team;
  try {
    require_finite(team, threads, input.data(), kImages, kImageValues);
  } catch (const std::domain_error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("an input of finite values passes, the largest ones too") {
  std::vector<float> input(kImages * kImageValues, -std::numeric_limits<float>::max());
  input[7] = std::numeric_limits<float>::denorm_min();
  input[8] = -0.0f;
  for (int threads : {1, 2, 4}) CHECK(complaint(input, threads) == "");
  Team team;
  require_finite(team, 2, nullptr, 0, kImageValues);
}

TEST_CASE("the first value that is not finite is named, wherever it is") {
  const float infinity = std::numeric_limits<float>::infinity();
  const int64_t count = kImages * kImageValues;
  for (int64_t at : {int64_t(0), int64_t(1) << 18, kImageValues, count - 2}) {
    for (float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> input(count, 1.0f);
      input[at] = bad;
      input[count - 1] = infinity;
      const std::string value = std::isnan(bad) ? "NaN" : bad > 0 ? "Infinity" : "-Infinity";
      const std::string expected = "the input is not finite: image " + std::to_string(at / kImageValues) + " has " + value +
                                   " at value " + std::to_string(at % kImageValues);
      for (int threads : {1, 4}) CHECK(complaint(input, threads) == expected);
    }
  }
}
