#include "cpu/implementations.h"
#include "cpu/simd_avx2.h"

#include "cpu/product_sum_simd.h"

namespace fewbit {

void product_sum_avx2(const ProductSum& op, int task, void*) { product_sum(op, task); }

}  // namespace fewbit
