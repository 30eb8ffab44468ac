#include "cpu/simd_avx2.h"

#include "simd_arrays_simd.h"

namespace fewbit {

const SimdArrays& simd_arrays_avx2() {
  static constexpr SimdArrays arrays = {"avx2", gelu_array, gelu_slope_array, exp_array, encode_array, nullptr, tree16_array};
  return arrays;
}

}  // namespace fewbit
