#include "cpu/implementations.h"
#include "cpu/simd_avx512.h"

#include "cpu/layernorm_simd.h"

namespace fewbit {

void layernorm_avx512(const LayerNorm& op, int task, void*) { layernorm(op, task); }

}  // namespace fewbit
