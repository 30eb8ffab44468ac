// Gather and CopyRows (native/ops/gather.h, copy_rows.h) on a CUDA device: rows copied, bytes as they are.
#pragma once

#include "cuda/ops/device.h"
#include "ops/gather.h"

namespace fewbit::cuda {

// Row r of y is `parts` rows of x one behind the other: rows[r][0], rows[r][1], ..., where -1 stands for bytes `zero`. Without
// a table row r is copied from row r.
struct GatherParams {
  int images, count, parts;
  const int32_t* rows;  // device memory, or null when parts is 1
  int part_bytes;
  Matrix<const uint8_t> x;
  Matrix<uint8_t> y;
  uint8_t zero;
};

Launch gather_launch(const GatherParams& params, const Device& device);

}  // namespace fewbit::cuda
