#include "cuda/ops/gather.h"

namespace fewbit::cuda {
namespace {

// Of a block; each has a row of y.
constexpr int kWarps = 8;

}  // namespace

Launch gather_launch(const GatherParams& p, const Device&) {
  const auto fits = [&](size_t bytes) { return p.part_bytes % bytes == 0 && aligned(p.x, bytes) && aligned(p.y, bytes); };
  const int bytes = fits(16) ? 16 : fits(4) ? 4 : 1;
  return {bytes == 16  ? "fewbit_gather_16"
          : bytes == 4 ? "fewbit_gather_4"
                       : "fewbit_gather_1",
          {blocks_of(int64_t(p.images) * p.count, kWarps), 1, 1},
          {32, kWarps, 1},
          0};
}

}  // namespace fewbit::cuda
