// Masks of keys, for attention on codes and on floats.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace fewbit {
namespace {

constexpr int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

// The first n of 16 or of 64 lanes.
inline __mmask16 first16(int n) { return static_cast<__mmask16>(n >= 16 ? 0xFFFF : (1u << n) - 1); }
inline __mmask64 first64(int n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }

// Those of the given lanes whose region is that of the query.
inline __mmask16 same_region(__mmask16 lanes, const uint8_t* regions, uint8_t region) {
  return _mm_mask_cmpeq_epi8_mask(lanes, _mm_maskz_loadu_epi8(lanes, regions), _mm_set1_epi8(static_cast<char>(region)));
}

// The regions of a window, or null when they are all the same, which is so in most windows.
inline const uint8_t* parting_regions(const uint8_t* regions, int tokens) {
  if (!regions) return nullptr;
  for (int s = 1; s < tokens; ++s)
    if (regions[s] != regions[0]) return regions;
  return nullptr;
}

}  // namespace
}  // namespace fewbit
