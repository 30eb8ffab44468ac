#include "cuda/ops/pointwise.h"

namespace fewbit::cuda {

Launch pointwise_launch(const PointwiseParams& p, const Device&) {
  const bool vectors = p.width % 4 == 0 && aligned(p.x, 16) && aligned(p.factor, 16) && aligned(p.residual, 16) &&
                       aligned(p.y_float, 16) && aligned(p.y_codes, 4);
  const int64_t threads = int64_t(p.rows) * (vectors ? p.width / 4 : p.width);
  return {vectors ? "fewbit_pointwise_vectors" : "fewbit_pointwise_elements",
          {blocks_of(threads, kPointwiseThreads), 1, 1},
          {kPointwiseThreads, 1, 1},
          0};
}

}  // namespace fewbit::cuda
