// Every implementation of LayerNorm on codes against the reference, bit for bit; the reference against LayerNorm of what the
// codes mean.
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

enum class Bytes { random, equal, extreme };
enum class Target { floats, codes, table };

struct Case {
  int rows, width;
  int offset;
  int shift;  // of every fifth column; -1: no shifts are given
  Bytes bytes;
  Target target;
  bool steps;          // the target has one a column
  int fine_every = 0;  // rows; with a table
};

class Fixture {
 public:
  Fixture(const Case& c, unsigned seed)
      : c_(c),
        x_((c.rows - 1) * size_t(stride()) + c.width),
        shift_(c.width),
        gamma_(c.width),
        beta_(c.width),
        inverse_steps_((c.width + 15) / 16 * 16) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < x_.size(); ++i) {
      const auto byte = static_cast<uint8_t>(random());
      x_.data()[i] = c.bytes == Bytes::random ? byte : c.bytes == Bytes::equal ? 77 : uint8_t(c.offset ? 0 : 255);
    }
    for (int i = 0; i < c.width; ++i) {
      shift_.data()[i] = static_cast<uint8_t>(i % 5 == 3 || c.bytes == Bytes::extreme ? c.shift : 0);
      gamma_.data()[i] = normal(random), beta_.data()[i] = normal(random);
    }
    for (size_t i = 0; i < inverse_steps_.size(); ++i) inverse_steps_.data()[i] = 20.0f * float(1 + i % 3);
    for (int i = 0; i < kEncodeTable; ++i) table_[i] = static_cast<uint8_t>(i / 2 & ~7);
    op_.rows = c.rows, op_.width = c.width;
    op_.x = x_.data(), op_.x_stride = stride();
    op_.offset = c.offset;
    op_.shift = c.shift < 0 ? nullptr : shift_.data();
    op_.gamma = gamma_.data(), op_.beta = beta_.data();
    op_.eps = 1e-3f * float(c.width) * float(c.width);
    op_.encode = {
        50.0f,       -128, 127, 128, c.target == Target::table ? table_ : nullptr, c.steps ? inverse_steps_.data() : nullptr,
        c.fine_every};
    op_.y_float_stride = op_.y_codes_stride = c.width + 3;
  }

  LayerNormCodes& op() { return op_; }

  template <class Run>
  std::vector<uint8_t> result(Run run) {
    const size_t size = size_t(c_.rows) * (c_.width + 3);
    const bool floats = c_.target == Target::floats;
    Guarded<float> y_float(floats ? size : 0);
    Guarded<uint8_t> y_codes(floats ? 0 : size);
    op_.y_float = floats ? y_float.data() : nullptr;
    op_.y_codes = floats ? nullptr : y_codes.data();
    run(op_);
    if (floats)
      REQUIRE(y_float.untouched_around(c_.rows, c_.width, op_.y_float_stride));
    else
      REQUIRE(y_codes.untouched_around(c_.rows, c_.width, op_.y_codes_stride));
    return floats ? y_float.bytes() : y_codes.bytes();
  }

 private:
  ptrdiff_t stride() const { return c_.width + c_.rows % 3; }

  Case c_;
  Aligned<uint8_t> x_, shift_;
  Aligned<float> gamma_, beta_, inverse_steps_;
  uint8_t table_[kEncodeTable];
  LayerNormCodes op_ = {};
};

void check(const Case& c, unsigned seed) {
  Fixture fixture(c, seed);
  const std::vector<uint8_t> want = fixture.result(layernorm_codes_reference);
  for (const Path& path : paths()) {
    if (!path.runs) continue;
    INFO(path.name, ": ", c.rows, " rows of ", c.width, ", offset ", c.offset, ", shift ", c.shift, ", target ", int(c.target),
         std::string(c.steps ? ", steps" : ""), ", fine every ", c.fine_every);
    const bool equal = fixture.result([&](const LayerNormCodes& op) {
      for (int task = layernorm_tasks(op.rows) - 1; task >= 0; --task) path.kernels->layernorm_codes(op, task, nullptr);
    }) == want;
    REQUIRE(equal);
  }
}

}  // namespace

TEST_CASE("LayerNorm of codes: all implementations give the reference's bits") {
  unsigned seed = 0;
  for (int rows : {1, 2, 3, 4, 5, 8, 31, 32, 33, 65})
    for (int width : {1, 2, 15, 16, 17, 31, 32, 33, 48, 100, 192, 223, 224, 225, 256, 384, 769})
      for (Target target : {Target::floats, Target::codes, Target::table}) {
        ++seed;
        const int offset = seed % 2 ? 128 : 0, shift = int(seed % 8) - 1;
        check({rows, width, offset, shift, Bytes::random, target, seed % 3 == 0 && target != Target::floats}, seed);
      }
}

TEST_CASE("LayerNorm of codes: fine rows inside of groups and tasks and at their edges") {
  unsigned seed = 0;
  for (int rows : {1, 5, 32, 65, 2 * 197})
    for (int width : {1, 16, 33, 192})
      for (int every : {1, 3, 4, 7, 31, 32, 33, 197}) {
        ++seed;
        check({rows, width, 128, 3, Bytes::random, Target::table, seed % 2 == 0, every}, seed);
      }
}

TEST_CASE("LayerNorm of codes: the largest sums are exact") {
  for (int width : {224, 4096, kLayerNormWidth})
    for (Bytes bytes : {Bytes::extreme, Bytes::random}) {
      check({5, width, 128, 7, bytes, Target::floats, false}, 1);
      check({5, width, 0, 6, bytes, Target::floats, false}, 2);
    }
}

TEST_CASE("LayerNorm of equal codes is beta, with and without eps") {
  for (int width : {1, 16, 385})
    for (float eps : {0.0f, 1.0f}) {
      Fixture fixture({3, width, 128, -1, Bytes::equal, Target::floats, false}, 9);
      fixture.op().eps = eps;
      std::vector<float> y(3 * (width + 3));
      for (const Path& path : paths()) {
        if (!path.runs) continue;
        fixture.op().y_float = y.data();
        path.kernels->layernorm_codes(fixture.op(), 0, nullptr);
        bool same = true;
        for (int t = 0; t < 3; ++t)
          for (int i = 0; i < width; ++i) same = same && y[t * (width + 3) + i] == fixture.op().beta[i];
        CHECK(same);
      }
    }
}

TEST_CASE("LayerNorm of codes is LayerNorm of what they mean") {
  const float step = 0.037f, eps = 1e-3f;
  for (int shift : {-1, 0, 3, 6})
    for (int offset : {0, 128}) {
      const int width = 100;
      Fixture fixture({1, width, offset, shift, Bytes::random, Target::floats, false}, 4);
      LayerNormCodes& op = fixture.op();
      std::vector<float> x(width), from_codes(width), from_floats(width);
      for (int i = 0; i < width; ++i) x[i] = float((op.x[i] - offset) * (1 << (op.shift ? op.shift[i] : 0))) * step;
      op.eps = width * width * eps / (step * step);
      op.y_float = from_codes.data();
      layernorm_codes_reference(op);
      layernorm_reference({1, width, x.data(), width, op.gamma, op.beta, eps, from_floats.data(), width, nullptr, 0, {}});
      for (int i = 0; i < width; ++i) CHECK(std::fabs(from_codes[i] - from_floats[i]) < 1e-5);
    }
}
