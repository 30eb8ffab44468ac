#include "cpu/implementations.h"
#include "cpu/kernels.h"

namespace fewbit {

const Kernels* kernels_portable() {
  static constexpr Kernels kernels = {linear_codes_portable,       linear_f32_portable,  attention_codes_portable,
                                      attention_f32_portable,      layernorm_portable,   layernorm_codes_portable,
                                      patchify_portable,           pointwise_portable,   layernorm_gradient_portable,
                                      attention_gradient_portable, product_sum_portable, false};
  return &kernels;
}

}  // namespace fewbit
