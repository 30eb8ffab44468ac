#include "cpu/implementations.h"
#include "cpu/simd_avx512.h"

#include "cpu/product_sum_simd.h"

namespace fewbit {

void product_sum_avx512(const ProductSum& op, int task, void*) { product_sum(op, task); }

}  // namespace fewbit
