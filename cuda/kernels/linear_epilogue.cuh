// What follows the integer product of a linear layer, for one element: native/ops/linear.h line by line.
#pragma once

#include "cuda/kernels/numeric.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/linear_codes.h"

namespace fewbit::cuda {

// acc: the product without the correction.
__device__ static inline void finish_linear(const LinearCodesParams& p, int r, int output, int acc) {
  const int image = r / p.image_rows, row = r % p.image_rows;
  float y = __fmaf_rn(float(acc + p.correction[output]), p.scale[output], p.bias[output]);
  if (p.rounds_pre_activation) y = round_to(p.pre_activation, y);
  if (p.activation == Activation::gelu) y = gelu(y);
  if (p.gain) y = y * p.gain[output];
  if (p.residual.data) y = y + p.residual.at(image, row)[output];
  if (p.residual_codes.data) {
    const int level = p.residual_codes.at(image, row)[output] - p.residual_offset;
    y = __fmaf_rn(float(level), p.residual_scale[output], y);
  }
  if (p.y_float.data)
    p.y_float.at(image, row)[output] = y;
  else
    p.y_codes.at(image, row)[output] = encode(p.encode, y, output);
}

}  // namespace fewbit::cuda
