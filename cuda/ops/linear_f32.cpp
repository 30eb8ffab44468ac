#include "cuda/ops/linear_f32.h"

namespace fewbit::cuda {

Launch linear_f32_launch(const LinearF32Params& p, const Device&) {
  const int64_t blocks = int64_t(blocks_of(p.rows, kLinearF32Tile)) * blocks_of(p.outputs, kLinearF32Tile);
  return {"fewbit_linear_f32", {static_cast<unsigned>(blocks), 1, 1}, {256, 1, 1}, 0};
}

}  // namespace fewbit::cuda
