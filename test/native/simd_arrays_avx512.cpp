#include "simd_arrays.h"

#include "cpu/simd_avx512.h"

namespace fewbit {

void gelu_array(const float* x, float* y, int count) {
  for (int i = 0; i < count; i += 16) _mm512_storeu_ps(y + i, gelu_f32x16(_mm512_loadu_ps(x + i)));
}

void gelu_slope_array(const float* x, float* y, int count) {
  for (int i = 0; i < count; i += 16) _mm512_storeu_ps(y + i, gelu_slope_f32x16(_mm512_loadu_ps(x + i)));
}

void exp_array(const float* x, float* y, int count) {
  for (int i = 0; i < count; i += 16) _mm512_storeu_ps(y + i, exp_nonpositive_f32x16(_mm512_loadu_ps(x + i)));
}

void encode_array(const Encoder& code, const float* x, uint8_t* y, int count) {
  const EncoderF32x16 encode(code);
  for (int i = 0; i < count; i += 16) _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), encode(_mm512_loadu_ps(x + i)));
}

void round_array(const Rounding& code, const float* x, float* y, int count) {
  const RoundingF32x16 round(&code);
  for (int i = 0; i < count; i += 16) _mm512_storeu_ps(y + i, round(_mm512_loadu_ps(x + i)));
}

void encode_array_by_64(const Encoder& code, const float* x, uint8_t* y, int count) {
  const EncoderF32x16 encode(code);
  for (int i = 0; i < count; i += 64)
    _mm512_storeu_si512(y + i, encode(_mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(x + i + 32),
                                      _mm512_loadu_ps(x + i + 48)));
}

float tree16_array(const float* lanes) { return tree16(_mm512_loadu_ps(lanes)); }

}  // namespace fewbit
