#include "ops/observe.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "buffers.h"
#include "ops/copy_rows.h"

using namespace fewbit;

TEST_CASE("observe gathers over runs what it gathers in one") {
  const int width = 7, total = 23, stride = 9, sample_rows = 5;
  std::mt19937 random(1);
  std::normal_distribution<float> normal(-2.0f, 1.0f);
  std::vector<float> x(total * stride);
  for (float& v : x) v = normal(random);
  Aligned<double> state((observe_state_bytes(width, sample_rows) + 7) / 8);
  std::fill_n(state.data(), state.size(), 0.0);
  int row = 0;
  for (int rows : {1, 0, 10, 12}) {
    observe_reference({rows, width, x.data() + row * stride, stride, state.data(), sample_rows, 4});
    row += rows;
  }
  REQUIRE(row == total);
  CHECK(state.data()[0] == total);
  for (int i = 0; i < width; ++i) {
    double sum = 0, square = 0, low = x[i], high = x[i];
    for (int t = 0; t < total; ++t) {
      const double v = x[t * stride + i];
      sum += v, square += v * v, low = std::min(low, v), high = std::max(high, v);
    }
    CHECK(state.data()[1 + i] == sum);
    CHECK(state.data()[1 + width + i] == square);
    CHECK(state.data()[1 + 2 * width + i] == low);  // all negative: not the initial zero
    CHECK(state.data()[1 + 3 * width + i] == high);
    const float* samples = reinterpret_cast<const float*>(state.data() + 1 + 4 * width);
    for (int s = 0; s < sample_rows; ++s) CHECK(samples[s * width + i] == x[4 * s * stride + i]);  // rows 0, 4, .. 16, not 20
  }
}

TEST_CASE("observe without samples keeps statistics only") {
  const std::vector<float> x = {1, 2, 3, 4};
  std::vector<double> state(observe_state_bytes(2, 0) / sizeof(double));
  observe_reference({2, 2, x.data(), 2, state.data(), 0, 0});
  CHECK(state == std::vector<double>{2, 4, 6, 10, 20, 1, 2, 3, 4});
}

TEST_CASE("copy_rows copies the columns and no others") {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  Guarded<float> y(8);
  const auto bytes = [](auto* floats) { return reinterpret_cast<uint8_t*>(const_cast<float*>(floats)); };
  copy_rows_reference({2, 2 * sizeof(float), bytes(x.data()), 3 * sizeof(float), bytes(y.data()), 5 * sizeof(float)});
  CHECK(y.data()[0] == 1);
  CHECK(y.data()[1] == 2);
  CHECK(y.data()[5] == 4);
  CHECK(y.data()[6] == 5);
  CHECK(y.untouched_around(2, 2, 5));
}
