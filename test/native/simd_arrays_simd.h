// A vocabulary on arrays. Include simd_avx512.h or simd_avx2.h first.
#pragma once

#include "simd_arrays.h"

namespace fewbit {
namespace {

void gelu_array(const float* x, float* y, int count) {
  for (int i = 0; i < count; i += 16) store(y + i, gelu(load(x + i)));
}

void gelu_slope_array(const float* x, float* y, int count) {
  for (int i = 0; i < count; i += 16) store(y + i, gelu_slope(load(x + i)));
}

void exp_array(const float* x, float* y, int count) {
  for (int i = 0; i < count; i += 16) store(y + i, exp_nonpositive(load(x + i)));
}

void encode_array(const Encoder& code, const float* x, uint8_t* y, int count) {
  const EncoderF32x16 encode(code);
  for (int i = 0; i < count; i += 16) store(y + i, Lanes(16), encode(load(x + i)));
}

float tree16_array(const float* lanes) { return tree16(load(lanes)); }

}  // namespace
}  // namespace fewbit
