// The mean of rows against one in double.
#include <doctest/doctest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <random>

#include "buffers.h"
#include "ops/mean.h"
#include "ops/numeric.h"

using namespace fewbit;

namespace {

void run(const Mean& op) {
  for (int task = mean_tasks(op.width) - 1; task >= 0; --task) mean_reference(op, task);
}

}  // namespace

TEST_CASE("mean of floats is that of double, within the roundings of a sum") {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(3.0f, 2.0f);
  for (int rows : {1, 2, 15, 16, 17, 49, 64})
    for (int width : {1, 63, 64, 65, 200}) {
      const ptrdiff_t stride = width + 5;
      Aligned<float> x((rows - 1) * stride + width);
      for (size_t i = 0; i < x.size(); ++i) x.data()[i] = normal(random);
      Guarded<float> y(width);
      Guarded<uint8_t> codes(width);
      Mean op = {};
      op.rows = rows, op.width = width, op.x_float = x.data(), op.x_float_stride = stride, op.y_float = y.data();
      run(op);
      CHECK(y.untouched_around(1, width, width));
      op.y_float = nullptr, op.y_codes = codes.data(), op.encode = {10.0f, -128, 127, 128, nullptr};
      run(op);
      CHECK(codes.untouched_around(1, width, width));
      double worst = 0;
      int wrong = 0;
      for (int c = 0; c < width; ++c) {
        double sum = 0, sizes = 0;
        for (int r = 0; r < rows; ++r) sum += x.data()[r * stride + c], sizes += std::fabs(x.data()[r * stride + c]);
        // An element takes part in rows / 16 + 4 additions and a division.
        const double bound = (rows / 16 + 6) * FLT_EPSILON / 2 * sizes / rows;
        worst = std::max(worst, std::fabs(y.data()[c] - sum / rows) / bound);
        wrong += codes.data()[c] != encode(op.encode, y.data()[c]);
      }
      CHECK(worst <= 1.0);
      CHECK(wrong == 0);
    }
}

TEST_CASE("mean of codes is the exact sum of levels times the scale") {
  std::mt19937 random(2);
  for (int offset : {0, 128})
    for (int rows : {1, 16, 49})
      for (int width : {1, 64, 65}) {
        const ptrdiff_t stride = width + 3;
        Aligned<uint8_t> x((rows - 1) * stride + width);
        for (size_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<uint8_t>(random());
        Guarded<float> y(width);
        Mean op = {};
        op.rows = rows, op.width = width, op.x_codes = x.data(), op.x_codes_stride = stride, op.x_offset = offset;
        op.scale = 0.0625f, op.y_float = y.data();
        run(op);
        int wrong = 0;
        for (int c = 0; c < width; ++c) {
          int sum = 0;
          for (int r = 0; r < rows; ++r) sum += x.data()[r * stride + c] - offset;
          wrong += y.data()[c] != sum / 16.0f;
        }
        CHECK(wrong == 0);
      }
}
