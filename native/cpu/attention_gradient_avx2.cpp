#include "cpu/implementations.h"
#include "cpu/simd_avx2.h"

#include "cpu/attention_gradient_simd.h"

namespace fewbit {

void attention_gradient_avx2(const AttentionGradient& op, int task, void* scratch) { attention_gradient(op, task, scratch); }

}  // namespace fewbit
