#include "cpu/simd_avx512.h"

#include "simd_arrays_simd.h"

namespace fewbit {
namespace {

void encode_array_by_64(const Encoder& code, const float* x, uint8_t* y, int count) {
  const EncoderF32x16 encode(code);
  for (int i = 0; i < count; i += 64)
    _mm512_storeu_si512(y + i, encode(load(x + i), load(x + i + 16), load(x + i + 32), load(x + i + 48)));
}

}  // namespace

const SimdArrays& simd_arrays_avx512() {
  static constexpr SimdArrays arrays = {"avx512vnni", gelu_array,         gelu_slope_array, exp_array,
                                        encode_array, encode_array_by_64, tree16_array};
  return arrays;
}

}  // namespace fewbit
