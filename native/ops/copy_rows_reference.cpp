#include <cstring>

#include "ops/copy_rows.h"

namespace fewbit {

void copy_rows_reference(const CopyRows& op) {
  for (int t = 0; t < op.rows; ++t) std::memcpy(op.y + t * op.y_stride, op.x + t * op.x_stride, op.row_bytes);
}

}  // namespace fewbit
