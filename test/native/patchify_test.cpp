#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "buffers.h"
#include "cpu/kernels.h"

using namespace fewbit;

namespace {

void check(int channels, int height, int width, int patch_height, int patch_width, int kind, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> value(-3.0f, 3.0f);
  Aligned<float> image(size_t(channels) * height * width);
  for (size_t i = 0; i < image.size(); ++i) image.data()[i] = value(random);
  std::vector<uint8_t> table(kEncodeTable);
  for (int i = 0; i < kEncodeTable; ++i) table[i] = static_cast<uint8_t>(i / 2 & ~3);
  const int columns = channels * patch_height * patch_width, rows = height / patch_height * (width / patch_width);
  const ptrdiff_t stride = columns + 5;
  Patchify op = {};
  op.channels = channels, op.height = height, op.width = width;
  op.patch_height = patch_height, op.patch_width = patch_width;
  op.image = image.data();
  op.y_float_stride = op.y_codes_stride = stride;
  op.encode = {40.0f, -128, 127, 128, kind == 2 ? table.data() : nullptr};
  const auto result = [&](auto run) {
    Guarded<float> y_float(kind == 0 ? rows * stride : 0);
    Guarded<uint8_t> y_codes(kind == 0 ? 0 : rows * stride);
    op.y_float = kind == 0 ? y_float.data() : nullptr;
    op.y_codes = kind == 0 ? nullptr : y_codes.data();
    run();
    if (kind == 0 && rows > 0) REQUIRE(y_float.untouched_around(rows, columns, stride));
    if (kind != 0 && rows > 0) REQUIRE(y_codes.untouched_around(rows, columns, stride));
    return kind == 0 ? y_float.bytes() : y_codes.bytes();
  };
  const std::vector<uint8_t> want = result([&] { patchify_reference(op); });
  for (const Path& path : paths()) {
    if (!path.runs) continue;
    INFO(path.name, ": ", channels, " x ", height, " x ", width, ", patches ", patch_height, " x ", patch_width);
    const bool equal = result([&] {
                         for (int task = patchify_tasks(height, patch_height) - 1; task >= 0; --task)
                           path.kernels->patchify(op, task, nullptr);
                       }) == want;
    REQUIRE(equal);
  }
}

}  // namespace

TEST_CASE("patchify: all implementations give the reference's bits") {
  unsigned seed = 0;
  for (int kind = 0; kind < 3; ++kind) {
    check(3, 224, 224, 16, 16, kind, ++seed);
    check(3, 64, 96, 32, 32, kind, ++seed);
    check(3, 56, 42, 14, 14, kind, ++seed);
    check(1, 37, 53, 7, 5, kind, ++seed);  // a remainder on both sides
    check(4, 16, 34, 8, 17, kind, ++seed);
    check(2, 9, 9, 1, 1, kind, ++seed);
    check(2, 5, 40, 5, 40, kind, ++seed);
    check(2, 5, 40, 6, 4, kind, ++seed);  // no patch at all
    for (int width : {4, 8, 16, 32})
      for (int columns : {60, 64, 67, 96, 131, 224}) {
        check(2, 8, columns, 4, width, kind, ++seed);
        check(2, 9, columns, 3, width, kind, ++seed);
      }
  }
}

TEST_CASE("patchify puts channel, row, column in this order") {
  const std::vector<float> image = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};  // 2 x 2 x 4
  std::vector<float> y(16);
  Patchify op = {};
  op.channels = 2, op.height = 2, op.width = 4, op.patch_height = 2, op.patch_width = 2;
  op.image = image.data(), op.y_float = y.data(), op.y_float_stride = 8;
  patchify_reference(op);
  CHECK(y == std::vector<float>{0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15});
}
