#include <cstring>

#include "ops/observe.h"

namespace fewbit {

void observe_reference(const Observe& op) {
  double& count = op.state[0];
  double* sum = op.state + 1;
  double* square = sum + op.width;
  double* low = square + op.width;
  double* high = low + op.width;
  float* samples = reinterpret_cast<float*>(high + op.width);
  for (int t = 0; t < op.rows; ++t) {
    const float* x = op.x + t * op.x_stride;
    const bool first = count == 0;
    for (int i = 0; i < op.width; ++i) {
      const double v = x[i];
      sum[i] += v;
      square[i] += v * v;
      low[i] = first || v < low[i] ? v : low[i];
      high[i] = first || v > high[i] ? v : high[i];
    }
    const int64_t row = static_cast<int64_t>(count);
    if (op.sample_rows > 0 && row % op.sample_stride == 0 && row / op.sample_stride < op.sample_rows)
      std::memcpy(samples + row / op.sample_stride * op.width, x, op.width * sizeof(float));
    count += 1;
  }
}

}  // namespace fewbit
