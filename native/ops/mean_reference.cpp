#include <algorithm>

#include "ops/mean.h"
#include "ops/numeric.h"

namespace fewbit {

void mean_reference(const Mean& op, int task) {
  const int end = std::min(op.width, (task + 1) * kMeanTaskColumns);
  for (int c = task * kMeanTaskColumns; c < end; ++c) {
    float y;
    if (op.x_float) {
      float lanes[16] = {};
      for (int r = 0; r < op.rows; ++r) lanes[r % 16] += op.x_float[r * op.x_float_stride + c];
      y = tree16(lanes) / float(op.rows);
    } else {
      int32_t sum = 0;
      for (int r = 0; r < op.rows; ++r) sum += op.x_codes[r * op.x_codes_stride + c] - op.x_offset;
      y = float(sum) * op.scale;
    }
    if (op.y_float)
      op.y_float[c] = y;
    else
      op.y_codes[c] = encode(op.encode, y);
  }
}

}  // namespace fewbit
