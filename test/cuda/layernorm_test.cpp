// LayerNorm on the device against the reference, bit for bit.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "cuda/ops/layernorm.h"
#include "device.h"

using namespace fewbit;
using namespace fewbit::cuda;

namespace {

enum class Target { floats, codes, table, steps };

struct Case {
  int images, image_rows, width, gap;  // gap: elements between rows
  Target target;
  int fine_every = 0;
};

// Elements from row to row and from image to image, and of all.
struct Layout {
  int64_t stride, image_stride, count;
  Layout(const Case& c, int extra)
      : stride(c.width + c.gap),
        image_stride(c.image_rows * stride + extra),
        count((c.images - 1) * image_stride + c.image_rows * stride) {}
};

class Fixture {
 public:
  Fixture(const Case& c, unsigned seed) : random(seed), gamma(c.width), beta(c.width), steps((c.width + 15) / 16 * 16) {
    std::normal_distribution<float> normal;
    for (int i = 0; i < c.width; ++i) gamma.data()[i] = normal(random), beta.data()[i] = normal(random);
    for (size_t i = 0; i < steps.size(); ++i) steps.data()[i] = 20.0f * float(1 + i % 3);
    for (int i = 0; i < kEncodeTable; ++i) table[i] = static_cast<uint8_t>(i / 2 & ~7);
    encode = {
        50.0f, -128, 127, 128, c.target == Target::table ? table : nullptr, c.target == Target::steps ? steps.data() : nullptr};
    encode.fine_every = c.fine_every;
  }

  // What is left of a run of the reference and of the device, in this order.
  template <class Op, class Params, class Reference>
  bool equal(const Case& c, Op op, Params p, Matrix<const typename std::remove_const_t<std::remove_pointer_t<decltype(Op::x)>>> x,
             size_t x_count, Reference reference, Launch (*launch)(const Params&, const Device&)) {
    const Layout y(c, 5);
    const bool floats = c.target == Target::floats;
    Guarded<float> want_float(floats ? y.count : 0), got_float(floats ? y.count : 0);
    Guarded<uint8_t> want_codes(floats ? 0 : y.count), got_codes(floats ? 0 : y.count);
    op.rows = c.image_rows, op.width = c.width, op.gamma = gamma.data(), op.beta = beta.data(), op.encode = encode;
    op.x_stride = x.stride, op.y_float_stride = op.y_codes_stride = y.stride;
    for (int image = 0; image < c.images; ++image) {
      op.x = x.data + image * x.image_stride;
      op.y_float = floats ? want_float.data() + image * y.image_stride : nullptr;
      op.y_codes = floats ? nullptr : want_codes.data() + image * y.image_stride;
      reference(op);
    }
    Mirror mirror;
    p.rows = c.images * c.image_rows, p.image_rows = c.image_rows, p.width = c.width;
    p.x = {mirror.up(x.data, x_count), x.stride, x.image_stride};
    p.gamma = mirror.up(gamma), p.beta = mirror.up(beta), p.eps = op.eps, p.encode = encode;
    if (encode.table) p.encode.table = mirror.up(table, kEncodeTable);
    if (encode.inverse_steps) p.encode.inverse_steps = mirror.up(steps);
    if (floats)
      p.y_float = {mirror.up(got_float), y.stride, y.image_stride};
    else
      p.y_codes = {mirror.up(got_codes), y.stride, y.image_stride};
    run(p, launch(p, device()));
    if (floats)
      mirror.down(got_float);
    else
      mirror.down(got_codes);
    return floats ? got_float.bytes() == want_float.bytes() : got_codes.bytes() == want_codes.bytes();
  }

  std::mt19937 random;
  Aligned<float> gamma, beta, steps;
  uint8_t table[kEncodeTable];
  Encoder encode{};
};

bool floats_equal(const Case& c, unsigned seed) {
  Fixture fixture(c, seed);
  const Layout x(c, 4);
  Aligned<float> values(x.count);
  std::normal_distribution<float> normal(0.3f, 2.0f);
  for (size_t i = 0; i < values.size(); ++i) values.data()[i] = normal(fixture.random);
  LayerNorm op{};
  op.eps = 1e-6f;
  return fixture.equal(c, op, LayerNormParams{}, {values.data(), x.stride, x.image_stride}, values.size(), layernorm_reference,
                       layernorm_launch);
}

bool codes_equal(const Case& c, int offset, int shift, unsigned seed) {
  Fixture fixture(c, seed);
  const Layout x(c, 4);
  Aligned<uint8_t> bytes(x.count), shifts(c.width);
  for (size_t i = 0; i < bytes.size(); ++i) bytes.data()[i] = static_cast<uint8_t>(fixture.random());
  for (int i = 0; i < c.width; ++i) shifts.data()[i] = static_cast<uint8_t>(i % 5 == 3 ? shift : 0);
  LayerNormCodes op{};
  op.offset = offset, op.shift = shift < 0 ? nullptr : shifts.data();
  op.eps = 1e-3f * float(c.width) * float(c.width);
  Mirror mirror;
  LayerNormCodesParams p{};
  p.offset = offset, p.shift = shift < 0 ? nullptr : mirror.up(shifts);
  return fixture.equal(c, op, p, {bytes.data(), x.stride, x.image_stride}, bytes.size(), layernorm_codes_reference,
                       layernorm_codes_launch);
}

}  // namespace

TEST_CASE("LayerNorm of floats gives the reference's bits") {
  unsigned seed = 0;
  for (int rows : {1, 2, 7, 8, 9, 17})
    for (int width : {1, 4, 15, 16, 17, 48, 192, 193, 384, 1700})
      for (Target target : {Target::floats, Target::codes, Target::table, Target::steps}) {
        ++seed;
        const Case c{1 + int(seed % 2), rows, width, int(seed % 3) * 4, target};
        INFO(c.images, " x ", rows, " rows of ", width, ", gap ", c.gap, ", target ", int(target));
        CHECK(floats_equal(c, seed));
      }
}

TEST_CASE("LayerNorm of codes gives the reference's bits") {
  unsigned seed = 0;
  for (int rows : {1, 3, 4, 5, 9})
    for (int width : {1, 4, 31, 32, 33, 128, 192, 193, 384, 769, 12800})
      for (Target target : {Target::floats, Target::codes, Target::table, Target::steps}) {
        ++seed;
        const Case c{1 + int(seed % 2), rows, width, int(seed % 3) * 4, target};
        const int offset = seed % 2 ? 128 : 0, shift = int(seed % 8) - 1;
        INFO(c.images, " x ", rows, " rows of ", width, ", gap ", c.gap, ", target ", int(target), ", shift ", shift);
        CHECK(codes_equal(c, offset, offset ? shift : shift > 6 ? 6 : shift, seed));
      }
}

TEST_CASE("LayerNorm: fine rows") {
  unsigned seed = 0;
  for (int rows : {1, 7, 8, 9, 17})
    for (int width : {1, 17, 48, 193, 12800})
      for (int images : {1, 2})
        // Rows of an image, or a part of them, so that the reference may count anew in each.
        for (int every : {1, images == 1 ? 3 : rows, rows}) {
          ++seed;
          const Case c{images, rows, width, int(seed % 3) * 4, Target::table, every};
          INFO(images, " x ", rows, " rows of ", width, ", gap ", c.gap, ", fine every ", every);
          CHECK(floats_equal(c, seed));
          CHECK(codes_equal(c, 128, 2, seed));
        }
}
