// Gathered rows against an element-wise copy, and nothing else touched.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "buffers.h"
#include "ops/gather.h"

using namespace fewbit;

TEST_CASE("gather copies rows as they are, and zeros for -1") {
  std::mt19937 random(1);
  for (int count : {1, 2, 63, 64, 65, 130})
    for (int parts : {1, 3, 4})
      for (int bytes : {1, 4, 20, 64, 100}) {
        const int x_rows = 1 + int(random() % 90), x_stride = bytes + int(random() % 9), y_stride = parts * bytes + 7;
        Aligned<uint8_t> x((x_rows - 1) * x_stride + bytes);
        for (size_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<uint8_t>(random());
        std::vector<int32_t> rows(count * parts);
        for (int32_t& row : rows) row = int(random() % (x_rows + 1)) - 1;
        Guarded<uint8_t> y((count - 1) * y_stride + parts * bytes);
        const Gather op = {count, parts, rows.data(), bytes, x.data(), x_stride, y.data(), y_stride, 128};
        for (int task = gather_tasks(count) - 1; task >= 0; --task) gather_reference(op, task);
        CHECK(y.untouched_around(count, parts * bytes, y_stride));
        int wrong = 0;
        for (int r = 0; r < count; ++r)
          for (int i = 0; i < parts * bytes; ++i) {
            const int row = rows[r * parts + i / bytes];
            wrong += y.data()[r * y_stride + i] != (row < 0 ? 128 : x.data()[row * x_stride + i % bytes]);
          }
        CHECK(wrong == 0);
      }
}
