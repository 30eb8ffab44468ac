// Rows put together from other rows, bytes as they are: patch merging. It serves floats and codes alike.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fewbit {

// Row r of y is the rows rows[r][0], rows[r][1], ... of x one behind the other; -1 stands for a row of zeros.
struct Gather {
  int count, parts;      // rows of y, and rows of x in each
  const int32_t* rows;   // [count][parts]
  ptrdiff_t part_bytes;  // of a row of x
  const uint8_t* x;
  ptrdiff_t x_stride;  // bytes
  uint8_t* y;
  ptrdiff_t y_stride;  // bytes
  uint8_t zero;        // the byte that zeros consist of: 0 for floats, the offset for codes
};

constexpr int kGatherTaskRows = 64;
static constexpr int gather_tasks(int count) { return (count + kGatherTaskRows - 1) / kGatherTaskRows; }

// Copying is all there is: every path uses this. One task.
void gather_reference(const Gather& op, int task);

}  // namespace fewbit
