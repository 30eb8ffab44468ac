#include "format/floats.h"

#include <algorithm>

namespace fewbit {
namespace {

constexpr int64_t kBlock = 4096;

// Compilers make vectors of this loop: it has no early exit.
bool all_inside(const float* x, int64_t count, float low, float high) {
  uint32_t outside = 0;
  for (int64_t i = 0; i < count; ++i) outside |= !(x[i] >= low) | !(x[i] <= high);
  return !outside;
}

}  // namespace

int64_t first_outside(const float* x, int64_t count, float low, float high) {
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, count);
    if (all_inside(x + begin, end - begin, low, high)) continue;
    return std::find_if(x + begin, x + end, [&](float value) { return !(value >= low && value <= high); }) - x;
  }
  return -1;
}

}  // namespace fewbit
