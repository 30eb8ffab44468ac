#include "ops/product_sum.h"

namespace fewbit {

void product_sum_reference(const ProductSum& op) {
  for (int i = 0; i < op.a_width; ++i)
    for (int j = 0; j < op.b_width; ++j) {
      float& sum = op.sum[ptrdiff_t(i) * op.b_width + j];
      double added = 0;
      for (int t = 0; t < op.rows; ++t) added += double(op.a[t * op.a_stride + i]) * op.b[t * op.b_stride + j];
      sum = static_cast<float>(sum + added);
    }
}

}  // namespace fewbit
