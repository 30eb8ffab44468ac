#include "cpu/implementations.h"
#include "cpu/simd_avx512.h"

#include "cpu/linear_f32_simd.h"

namespace fewbit {

void linear_f32_avx512(const LinearF32& op, int task, void*) { linear_f32(op, task); }

}  // namespace fewbit
