// Every implementation of Pointwise against the reference, bit for bit.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "buffers.h"
#include "cpu/kernels.h"

using namespace fewbit;

namespace {

struct Case {
  int rows, width;
  Function function;
  bool gain, factor, residual;
  bool codes, table;
};

class Fixture {
 public:
  Fixture(const Case& c, unsigned seed)
      : c_(c), stride_(c.width + seed % 4), x_(size()), factor_(size()), residual_(size()), gain_(c.width) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 2.0f);
    for (const Aligned<float>* values : {&x_, &factor_, &residual_, &gain_})
      for (size_t i = 0; i < values->size(); ++i) values->data()[i] = normal(random);
    for (int i = 0; i < kEncodeTable; ++i) table_.push_back(static_cast<uint8_t>(i / 2 & ~7));
    op_ = {};
    op_.rows = c.rows, op_.width = c.width, op_.function = c.function;
    op_.x = x_.data(), op_.x_stride = stride_;
    if (c.gain) op_.gain = gain_.data();
    if (c.factor) op_.factor = factor_.data(), op_.factor_stride = stride_;
    if (c.residual) op_.residual = residual_.data(), op_.residual_stride = stride_;
    op_.y_float_stride = op_.y_codes_stride = c.width + 3;
    op_.encode = {20.0f, -128, 127, 128, c.table ? table_.data() : nullptr};
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

  // y on the rows of an operand: the residual's, else the factor's, else x's.
  template <class Run>
  std::vector<float> in_place(Run run) {
    const Aligned<float>& rows = c_.residual ? residual_ : c_.factor ? factor_ : x_;
    const std::vector<float> before(rows.data(), rows.data() + rows.size());
    Pointwise op = op_;
    op.y_codes = nullptr;
    op.y_float = rows.data(), op.y_float_stride = stride_;
    run(op);
    const std::vector<float> after(rows.data(), rows.data() + rows.size());
    std::copy(before.begin(), before.end(), rows.data());
    return after;
  }

 private:
  size_t size() const { return size_t(c_.rows) * stride_; }

  Case c_;
  ptrdiff_t stride_;
  Aligned<float> x_, factor_, residual_, gain_;
  std::vector<uint8_t> table_;
  Pointwise op_;
};

template <class Kernel>
auto all_tasks(Kernel kernel) {
  return [kernel](const Pointwise& op) {
    for (int task = pointwise_tasks(op.rows) - 1; task >= 0; --task) kernel(op, task, nullptr);
  };
}

void check(const Case& c, unsigned seed) {
  Fixture fixture(c, seed);
  const std::vector<uint8_t> want = fixture.result(pointwise_reference);
  for (const Path& path : paths()) {
    if (!path.runs) continue;
    INFO(path.name, ": ", c.rows, " rows of ", c.width, ", function ", int(c.function), ", seed ", seed);
    const bool equal = fixture.result(all_tasks(path.kernels->pointwise)) == want;
    REQUIRE(equal);
    if (c.codes) continue;
    const bool equal_in_place = fixture.in_place(all_tasks(path.kernels->pointwise)) == fixture.in_place(pointwise_reference);
    REQUIRE(equal_in_place);
  }
}

}  // namespace

TEST_CASE("pointwise: all implementations give the reference's bits") {
  unsigned seed = 0;
  for (int rows : {1, 2, 31, 32, 33, 65})
    for (int width : {1, 15, 16, 17, 48, 63, 64, 65, 100, 192})
      for (Function function : {Function::identity, Function::gelu, Function::gelu_slope}) {
        ++seed;
        // Every choice of operands within eight sizes, codes in every third.
        check({rows, width, function, seed % 2 != 0, seed / 2 % 2 != 0, seed / 4 % 2 != 0, seed % 3 == 0, seed % 6 == 0}, seed);
      }
}

TEST_CASE("pointwise applies its parts in order") {
  const std::vector<float> x = {1, -2}, gain = {3, 5}, factor = {0.5f, 2}, residual = {10, 20};
  std::vector<float> y(2);
  pointwise_reference(
      {1, 2, x.data(), 2, Function::identity, gain.data(), factor.data(), 2, residual.data(), 2, y.data(), 2, nullptr, 0, {}});
  CHECK(y == std::vector<float>{11.5f, 0});
}
