#include "cuda/ops/linear_codes.h"

#include <cstring>

namespace fewbit::cuda {

size_t linear_codes_weight_bytes(int outputs, int inputs, int bits) { return packed_bytes(outputs, inputs, bits); }

void linear_codes_weight(const uint8_t* packed, int outputs, int inputs, int bits, uint8_t* weight) {
  std::memcpy(weight, packed, packed_bytes(outputs, inputs, bits));
}

Workspace linear_codes_workspace(const LinearCodesParams&, const Device&) { return {}; }

// A block of the simple kernel has 16 outputs and 32 rows: 16 x 8 threads with one output and four rows each.
Launch linear_codes_launch(const LinearCodesParams& p, const Device&) {
  const int64_t blocks = int64_t(blocks_of(p.rows, 32)) * blocks_of(p.outputs, 16);
  return {"fewbit_linear_codes_simple", {static_cast<unsigned>(blocks), 1, 1}, {16, 8, 1}, 0};
}

}  // namespace fewbit::cuda
