#include "plan/finite_input.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "format/floats.h"

namespace fewbit {
namespace {

// Of a task: what is read in the time that it takes to wake a thread.
constexpr int64_t kTaskValues = 1 << 18;

int64_t first_bad(const float* x, int64_t count) {
  constexpr float kMost = std::numeric_limits<float>::max();
  return first_outside(x, count, -kMost, kMost);
}

std::string text(float x) { return std::isnan(x) ? "NaN" : x > 0 ? "Infinity" : "-Infinity"; }

}  // namespace

void require_finite(Team& team, int threads, const float* input, int64_t images, int64_t image_values) {
  const int64_t count = images * image_values;
  std::atomic<bool> finite{true};
  team.parallel_for(static_cast<int>((count + kTaskValues - 1) / kTaskValues), threads, [&](int task, int) {
    const int64_t begin = task * kTaskValues;
    if (first_bad(input + begin, std::min(kTaskValues, count - begin)) >= 0) finite.store(false, std::memory_order_relaxed);
  });
  if (finite) return;
  const int64_t at = first_bad(input, count);
  throw std::domain_error("the input is not finite: image " + std::to_string(at / image_values) + " has " + text(input[at]) +
                          " at value " + std::to_string(at % image_values));
}

}  // namespace fewbit
