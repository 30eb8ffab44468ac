// Statistics of a float edge, gathered over many runs: what calibration sees.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fewbit {

// The state is a blob that lives as long as the plan, zeroed at creation (a count of 0 means that minimum and maximum are
// not set yet): doubles [0] = count of rows seen, [1 .. width] sum, then width sums of squares, then width minima, then
// width maxima; after these 1 + 4 width doubles, samples: float [sample_rows][width].
// Row g of all rows seen (g counts on through runs) becomes sample g / sample_stride when sample_stride divides g and
// that sample exists.
struct Observe {
  int rows, width;
  const float* x;
  ptrdiff_t x_stride;  // floats
  double* state;
  int sample_rows;
  int64_t sample_stride;
};

static constexpr size_t observe_state_bytes(int width, int sample_rows) {
  return (1 + 4 * size_t(width)) * sizeof(double) + size_t(sample_rows) * width * sizeof(float);
}

// One task: the order of rows is part of the result.
void observe_reference(const Observe& op);

}  // namespace fewbit
