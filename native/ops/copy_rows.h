// Copies constant rows (class and distillation tokens with their positions) into an edge of floats or of codes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fewbit {

struct CopyRows {
  int rows;
  size_t row_bytes;
  const uint8_t* x;
  ptrdiff_t x_stride;  // bytes
  uint8_t* y;
  ptrdiff_t y_stride;  // bytes
};

void copy_rows_reference(const CopyRows& op);

}  // namespace fewbit
