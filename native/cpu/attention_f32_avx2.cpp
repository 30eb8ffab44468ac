#include "cpu/implementations.h"
#include "cpu/simd_avx2.h"

#include "cpu/attention_f32_simd.h"

namespace fewbit {

void attention_f32_avx2(const AttentionF32& op, int task, void* scratch) { attention_f32(op, task, scratch); }

}  // namespace fewbit
