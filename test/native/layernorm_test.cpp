// Every implementation of LayerNorm against the reference, bit for bit, floats included: the contract fixes the sums' tree.
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "buffers.h"
#include "cpu/kernels.h"
#include "ops/numeric.h"

using namespace fewbit;

namespace {

struct Case {
  int rows, width;
  bool codes, table;
  float mean, deviation;  // of x
  int fine_every = 0;     // rows; with a table
};

class Fixture {
 public:
  Fixture(const Case& c, unsigned seed) : c_(c), x_(c.rows * size_t(c.width + seed % 4)), gamma_(c.width), beta_(c.width) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < x_.size(); ++i) x_.data()[i] = c.mean + c.deviation * normal(random);
    for (int i = 0; i < c.width; ++i) gamma_.data()[i] = normal(random), beta_.data()[i] = normal(random);
    table_.resize(kEncodeTable);
    for (int i = 0; i < kEncodeTable; ++i) table_[i] = static_cast<uint8_t>(i / 2 & ~7);
    op_ = {};
    op_.rows = c.rows, op_.width = c.width;
    op_.x = x_.data(), op_.x_stride = c.width + seed % 4;
    op_.gamma = gamma_.data(), op_.beta = beta_.data();
    op_.eps = 1e-6f;
    op_.encode = {50.0f, -128, 127, 128, c.table ? table_.data() : nullptr, nullptr, c.fine_every};
    op_.y_float_stride = op_.y_codes_stride = c.width + 3;
  }

  template <class Run>
  std::vector<uint8_t> result(Run run) {
    const size_t size = size_t(c_.rows) * (c_.width + 3);
    Guarded<float> y_float(c_.codes ? 0 : size);
    Guarded<uint8_t> y_codes(c_.codes ? size : 0);
    op_.y_float = c_.codes ? nullptr : y_float.data();
    op_.y_codes = c_.codes ? y_codes.data() : nullptr;
    run(op_);
    if (c_.codes)
      REQUIRE(y_codes.untouched_around(c_.rows, c_.width, op_.y_codes_stride));
    else
      REQUIRE(y_float.untouched_around(c_.rows, c_.width, op_.y_float_stride));
    return c_.codes ? y_codes.bytes() : y_float.bytes();
  }

 private:
  Case c_;
  Aligned<float> x_, gamma_, beta_;
  std::vector<uint8_t> table_;
  LayerNorm op_;
};

void check(const Case& c, unsigned seed) {
  Fixture fixture(c, seed);
  const std::vector<uint8_t> want = fixture.result(layernorm_reference);
  for (const Path& path : paths()) {
    if (!path.runs) continue;
    INFO(path.name, ": ", c.rows, " rows of ", c.width, std::string(c.codes ? ", codes" : ""),
         std::string(c.table ? ", table" : ""), ", fine every ", c.fine_every);
    const bool equal = fixture.result([&](const LayerNorm& op) {
      for (int task = layernorm_tasks(op.rows) - 1; task >= 0; --task) path.kernels->layernorm(op, task, nullptr);
    }) == want;
    REQUIRE(equal);
  }
}

}  // namespace

TEST_CASE("LayerNorm: all implementations give the reference's bits") {
  unsigned seed = 0;
  for (int rows : {1, 2, 3, 4, 5, 8, 31, 32, 33, 65})
    for (int width : {1, 2, 15, 16, 17, 31, 32, 33, 48, 100, 192, 384, 769})
      for (int kind = 0; kind < 3; ++kind) check({rows, width, kind > 0, kind == 2, 0.3f, 2.0f}, ++seed);
}

TEST_CASE("LayerNorm: fine rows inside of groups and tasks and at their edges") {
  unsigned seed = 0;
  for (int rows : {1, 5, 32, 65, 2 * 197})
    for (int width : {1, 16, 33, 192})
      for (int every : {1, 3, 4, 7, 31, 32, 33, 197}) check({rows, width, true, true, 0.3f, 2.0f, every}, ++seed);
}

TEST_CASE("LayerNorm: fine rows have all levels, the others those of the table") {
  const int rows = 9, width = 48, every = 4;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> x(rows * width), gamma(width, 1.0f), beta(width, 0.1f), y(rows * width);
  for (float& v : x) v = normal(random);
  std::vector<uint8_t> table(kEncodeTable), codes(rows * width);
  for (int i = 0; i < kEncodeTable; ++i) table[i] = static_cast<uint8_t>(i / 2 | 1);
  LayerNorm op = {rows, width, x.data(), width, gamma.data(), beta.data(), 1e-5f, y.data(), width, nullptr, width, {}};
  layernorm_reference(op);
  op.y_float = nullptr, op.y_codes = codes.data();
  op.encode = {90.0f, -128, 127, 128, table.data(), nullptr, every};
  layernorm_reference(op);
  for (int t = 0; t < rows; ++t) {
    bool all_levels = true, all_odd = true;
    for (int i = 0; i < width; ++i) {
      const float level = std::nearbyint(std::fmin(std::fmax(y[t * width + i] * 90.0f, -128.0f), 127.0f));
      all_levels = all_levels && codes[t * width + i] == int(level) + 128;
      all_odd = all_odd && codes[t * width + i] % 2;
    }
    CHECK(all_levels == (t % every == 0));
    CHECK(all_odd == (t % every != 0));
  }
}

TEST_CASE("LayerNorm of equal values is beta, and of large means stays the reference's") {
  for (int width : {1, 16, 384, 385}) {
    check({5, width, false, false, 3.7f, 0.0f}, 1);
    check({5, width, true, false, 3.7f, 0.0f}, 2);
    check({5, width, false, false, 1e6f, 1.0f}, 3);
    check({5, width, false, false, 0.0f, 1e-30f}, 4);
    check({5, width, true, true, 0.0f, 1e20f}, 5);  // squares overflow: infinities and NaN
  }
  std::vector<float> x(48, 2.5f), gamma(48, 3.0f), beta(48, -1.25f), y(48);
  layernorm_reference({1, 48, x.data(), 48, gamma.data(), beta.data(), 1e-6f, y.data(), 48, nullptr, 0, {}});
  CHECK(y == beta);
}

TEST_CASE("LayerNorm's reference is LayerNorm") {
  const int width = 100;
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.5f, 2.0f);
  std::vector<float> x(width), gamma(width), beta(width), y(width);
  for (int i = 0; i < width; ++i) x[i] = normal(random), gamma[i] = normal(random), beta[i] = normal(random);
  layernorm_reference({1, width, x.data(), width, gamma.data(), beta.data(), 1e-5f, y.data(), width, nullptr, 0, {}});
  double mean = 0, variance = 0;
  for (float v : x) mean += v / double(width);
  for (float v : x) variance += (v - mean) * (v - mean) / width;
  for (int i = 0; i < width; ++i)
    CHECK(std::fabs(y[i] - ((x[i] - mean) / std::sqrt(variance + 1e-5) * gamma[i] + beta[i])) < 1e-5);
}
