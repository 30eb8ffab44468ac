#include <algorithm>
#include <cstring>

#include "ops/gather.h"

namespace fewbit {

void gather_reference(const Gather& op, int task) {
  const int end = std::min(op.count, (task + 1) * kGatherTaskRows);
  for (int r = task * kGatherTaskRows; r < end; ++r) {
    uint8_t* y = op.y + r * op.y_stride;
    for (int part = 0; part < op.parts; ++part, y += op.part_bytes) {
      const int32_t row = op.rows[ptrdiff_t(r) * op.parts + part];
      if (row < 0)
        std::memset(y, op.zero, op.part_bytes);
      else
        std::memcpy(y, op.x + row * op.x_stride, op.part_bytes);
    }
  }
}

}  // namespace fewbit
