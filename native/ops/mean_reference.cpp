#include <algorithm>

#include "ops/mean.h"
#include "ops/numeric.h"

namespace fewbit {

void mean_reference(const Mean& op, int task) {
  const int first = task * kMeanTaskColumns;
  const int columns = std::min(kMeanTaskColumns, op.width - first);
  // Row after row: the columns of one lie side by side.
  float lanes[16][kMeanTaskColumns] = {};
  int32_t sums[kMeanTaskColumns] = {};
  for (int r = 0; r < op.rows; ++r) {
    if (op.x_float) {
      const float* x = op.x_float + r * op.x_float_stride + first;
      for (int c = 0; c < columns; ++c) lanes[r % 16][c] += x[c];
    } else {
      const uint8_t* x = op.x_codes + r * op.x_codes_stride + first;
      for (int c = 0; c < columns; ++c) sums[c] += x[c] - op.x_offset;
    }
  }
  for (int c = 0; c < columns; ++c) {
    float column[16];
    for (int lane = 0; lane < 16; ++lane) column[lane] = lanes[lane][c];
    const float y = op.x_float ? tree16(column) / float(op.rows) : float(sums[c]) * op.scale;
    if (op.y_float)
      op.y_float[first + c] = y;
    else
      op.y_codes[first + c] = encode(op.encode, y);
  }
}

}  // namespace fewbit
