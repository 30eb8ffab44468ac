// Copies constant rows (class and distillation tokens with their positions) into an edge.
#pragma once

#include <cstddef>

namespace fewbit {

struct CopyRows {
  int rows, width;
  const float* x;
  ptrdiff_t x_stride;  // floats
  float* y;
  ptrdiff_t y_stride;
};

void copy_rows_reference(const CopyRows& op);

}  // namespace fewbit
