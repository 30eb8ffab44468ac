#include "cpu/implementations.h"
#include "cpu/kernels.h"

namespace fewbit {

const Kernels* kernels_avx2() {
  static constexpr Kernels kernels = {linear_codes_avx2,       linear_f32_avx2,  attention_codes_avx2,
                                      attention_f32_avx2,      layernorm_avx2,   layernorm_codes_avx2,
                                      patchify_avx2,           pointwise_avx2,   layernorm_gradient_portable,
                                      attention_gradient_avx2, product_sum_avx2, false};
  return &kernels;
}

}  // namespace fewbit
