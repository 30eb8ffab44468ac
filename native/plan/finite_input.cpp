#include "plan/finite_input.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

namespace fewbit {
namespace {

// Of a task: what is read in the time that it takes to wake a thread.
constexpr int64_t kTaskValues = 1 << 18;

// Compilers make vectors of this loop: it has no early exit, and integers in place of comparisons of floats.
bool all_finite(const float* x, int64_t count) {
  constexpr uint32_t kExponent = 0x7F800000;
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    bad |= (bits & kExponent) == kExponent;
  }
  return !bad;
}

std::string text(float x) { return std::isnan(x) ? "NaN" : x > 0 ? "Infinity" : "-Infinity"; }

}  // namespace

void require_finite(Team& team, int threads, const float* input, int64_t images, int64_t image_values) {
  const int64_t count = images * image_values;
  std::atomic<bool> finite{true};
  team.parallel_for(static_cast<int>((count + kTaskValues - 1) / kTaskValues), threads, [&](int task, int) {
    const int64_t begin = task * kTaskValues;
    if (!all_finite(input + begin, std::min(kTaskValues, count - begin))) finite.store(false, std::memory_order_relaxed);
  });
  if (finite) return;
  const float* bad = std::find_if(input, input + count, [](float x) { return !std::isfinite(x); });
  const int64_t at = bad - input;
  throw std::domain_error("the input is not finite: image " + std::to_string(at / image_values) + " has " + text(*bad) +
                          " at value " + std::to_string(at % image_values));
}

}  // namespace fewbit
