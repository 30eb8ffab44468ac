// What attention on codes and on floats has in common.
#pragma once

#include <cstdint>

namespace fewbit {
namespace {

constexpr int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

// The regions of a window, or null when they are all the same, which is so in most windows.
inline const uint8_t* parting_regions(const uint8_t* regions, int tokens) {
  if (!regions) return nullptr;
  for (int s = 1; s < tokens; ++s)
    if (regions[s] != regions[0]) return regions;
  return nullptr;
}

}  // namespace
}  // namespace fewbit
