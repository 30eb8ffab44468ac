#include "cpu/implementations.h"
#include "cpu/simd_avx512.h"

#include "cpu/pointwise_simd.h"

namespace fewbit {

void pointwise_avx512(const Pointwise& op, int task, void*) { pointwise(op, task); }

}  // namespace fewbit
