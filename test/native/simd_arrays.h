// The vocabularies of cpu/simd_avx512.h and cpu/simd_avx2.h on arrays, so that tests and benchmarks need no such flags
// themselves: what runs before a test asks for the path (static initializers, inline functions of the standard library) must run
// on every processor.
#pragma once

#include <cstdint>

#include "ops/encode.h"

namespace fewbit {

// Only where the path runs. count: a multiple of 64.
struct SimdArrays {
  const char* path;
  void (*gelu)(const float* x, float* y, int count);
  void (*gelu_slope)(const float* x, float* y, int count);
  void (*exp)(const float* x, float* y, int count);
  void (*encode)(const Encoder& code, const float* x, uint8_t* y, int count);
  void (*encode_by_64)(const Encoder& code, const float* x, uint8_t* y, int count);  // null where there is no such encoder
  float (*tree16)(const float* lanes);
};

const SimdArrays& simd_arrays_avx2();
const SimdArrays& simd_arrays_avx512();

}  // namespace fewbit
