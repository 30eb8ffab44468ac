#include "cuda/ops/pointwise.h"

namespace fewbit::cuda {
namespace {

// Of a block; each has a row.
constexpr int kWarps = 8;

}  // namespace

Launch pointwise_launch(const PointwiseParams& p, const Device&) {
  const bool vectors =
      aligned(p.x, 16) && aligned(p.factor, 16) && aligned(p.residual, 16) && aligned(p.y_float, 16) && aligned(p.y_codes, 4);
  return {
      vectors ? "fewbit_pointwise_vectors" : "fewbit_pointwise_elements", {blocks_of(p.rows, kWarps), 1, 1}, {32, kWarps, 1}, 0};
}

}  // namespace fewbit::cuda
