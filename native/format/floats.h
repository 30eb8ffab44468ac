// Checks of many floats at once.
#pragma once

#include <cstdint>

namespace fewbit {

// The index of the first value that is not in [low, high], as NaN is not; -1: there is none.
int64_t first_outside(const float* x, int64_t count, float low, float high);

}  // namespace fewbit
