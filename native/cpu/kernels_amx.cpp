#include "cpu/implementations.h"
#include "cpu/kernels.h"

namespace fewbit {

const Kernels* kernels_amx() {
  static constexpr Kernels kernels = {linear_codes_amx,          linear_f32_avx512,  attention_codes_amx,
                                      attention_f32_avx512,      layernorm_avx512,   layernorm_codes_avx512,
                                      patchify_avx512,           pointwise_avx512,   layernorm_gradient_portable,
                                      attention_gradient_avx512, product_sum_avx512, false};
  return &kernels;
}

}  // namespace fewbit
