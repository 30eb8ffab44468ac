// The mean of all rows (average pooling), of floats or of codes, to floats or to codes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/encode.h"

namespace fewbit {

// For column c:
//   floats  y = tree16(lanes) / float(rows), where lane j of 16 adds the rows j, j + 16, ... in order   (as in ops/layernorm.h)
//   codes   y = float(sum over rows of (byte - x_offset), exact int32) * scale
struct Mean {
  int rows, width;  // 255 * rows < 2^31
  // Exactly one is set.
  const float* x_float;
  ptrdiff_t x_float_stride;
  const uint8_t* x_codes;
  ptrdiff_t x_codes_stride;
  int x_offset;  // 0 or 128
  float scale;   // step of x / rows
  // Exactly one is set.
  float* y_float;
  uint8_t* y_codes;
  Encoder encode;
};

// A task is a few columns.
constexpr int kMeanTaskColumns = 64;
static constexpr int mean_tasks(int width) { return (width + kMeanTaskColumns - 1) / kMeanTaskColumns; }

// Far from any other op in time: every path uses this. One task.
void mean_reference(const Mean& op, int task);

}  // namespace fewbit
