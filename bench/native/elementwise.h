// The elementwise vocabulary alone, on arrays in L1. For processors with AVX-512 (path avx512vnni).
#pragma once

#include <cstdint>

#include "ops/encode.h"

namespace fewbit {

void gelu_array(const float* x, float* y, int count);  // count: a multiple of 64
void exp_array(const float* x, float* y, int count);
void encode_array(const Encoder& code, const float* x, uint8_t* y, int count);
void encode4_array(const Encoder& code, const float* x, uint8_t* y, int count);  // 64 lanes a step

}  // namespace fewbit
