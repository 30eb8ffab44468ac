// cpu/simd_avx512.h on arrays, so that tests and benchmarks need no AVX-512 flags themselves: what runs before a test asks
// for the path (static initializers, inline functions of the standard library) must run on every processor.
#pragma once

#include <cstdint>

#include "ops/encode.h"

namespace fewbit {

// Only where the path avx512vnni runs. count: a multiple of 64.
void gelu_array(const float* x, float* y, int count);
void gelu_slope_array(const float* x, float* y, int count);
void exp_array(const float* x, float* y, int count);
void encode_array(const Encoder& code, const float* x, uint8_t* y, int count);
void round_array(const Rounding& code, const float* x, float* y, int count);
void encode_array_by_64(const Encoder& code, const float* x, uint8_t* y, int count);
float tree16_array(const float* lanes);

}  // namespace fewbit
