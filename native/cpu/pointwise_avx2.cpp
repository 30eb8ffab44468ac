#include "cpu/implementations.h"
#include "cpu/simd_avx2.h"

#include "cpu/pointwise_simd.h"

namespace fewbit {

void pointwise_avx2(const Pointwise& op, int task, void*) { pointwise(op, task); }

}  // namespace fewbit
