#include "cpu/implementations.h"

namespace fewbit {

// A row of sums is taken out of memory, so that it stays in the first-level cache whatever the width is.
void product_sum_portable(const ProductSum& op, int task, void*) {
  const ProductSumTile tile = product_sum_tile(op.a_width, op.b_width, task);
  const int columns = tile.column_end - tile.column_begin;
  for (ptrdiff_t i = tile.row_begin; i < tile.row_end; ++i) {
    float sums[kProductSumColumns] = {};
    for (ptrdiff_t t = 0; t < op.rows; ++t) {
      const float a = op.a[t * op.a_stride + i];
      const float* b = op.b + t * op.b_stride + tile.column_begin;
      for (int j = 0; j < columns; ++j) sums[j] += a * b[j];
    }
    float* sum = op.sum + i * op.b_width + tile.column_begin;
    for (int j = 0; j < columns; ++j) sum[j] += sums[j];
  }
}

}  // namespace fewbit
