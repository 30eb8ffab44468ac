#include "cuda/ops/mean.h"

namespace fewbit::cuda {

Launch mean_launch(const MeanParams& p, const Device&) {
  const int64_t blocks = int64_t(blocks_of(p.width, kMeanColumns)) * p.images;
  return {"fewbit_mean", {static_cast<unsigned>(blocks), 1, 1}, {kMeanColumns, kMeanLanes, 1}, 0};
}

}  // namespace fewbit::cuda
