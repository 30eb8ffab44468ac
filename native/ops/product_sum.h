// Sums of outer products of rows, gathered over many runs: the gradient of a weight.
#pragma once

#include <cstddef>

#include "format/packed_weight.h"

namespace fewbit {

// sum[i][j] += sum over rows t of a[t][i] b[t][j]
// Order of summation is free; it does not depend on the number of threads.
struct ProductSum {
  int rows, a_width, b_width;
  const float* a;
  ptrdiff_t a_stride;  // floats
  const float* b;
  ptrdiff_t b_stride;
  float* sum;  // [a_width][b_width], lives as long as the plan and is zeroed at creation
};

// A task is a tile of sums, tasks may run at the same time.
constexpr int kProductSumRows = 48;
constexpr int kProductSumColumns = 64;

static constexpr int product_sum_tasks(int a_width, int b_width) {
  return ceil_div(a_width, kProductSumRows) * ceil_div(b_width, kProductSumColumns);
}

struct ProductSumTile {
  int row_begin, row_end, column_begin, column_end;
};

static constexpr ProductSumTile product_sum_tile(int a_width, int b_width, int task) {
  const int row = task % ceil_div(a_width, kProductSumRows) * kProductSumRows;
  const int column = task / ceil_div(a_width, kProductSumRows) * kProductSumColumns;
  return {row, row + kProductSumRows < a_width ? row + kProductSumRows : a_width, column,
          column + kProductSumColumns < b_width ? column + kProductSumColumns : b_width};
}

void product_sum_reference(const ProductSum& op);

}  // namespace fewbit
