#include "cpu/implementations.h"
#include "cpu/simd_avx2.h"

#include "cpu/layernorm_simd.h"

namespace fewbit {

void layernorm_avx2(const LayerNorm& op, int task, void*) { layernorm(op, task); }

}  // namespace fewbit
