// What LayerNorm makes of a gradient: from dL/dy to dL/dx. Float only.
#pragma once

#include <cstddef>

namespace fewbit {

// For each row, with mean and var over its width W as in ops/layernorm.h, r = 1 / sqrt(var + eps):
//   n  = (x - mean) r                         what LayerNorm multiplies with gamma
//   h  = gradient * gamma                     dL/dn
//   y  = r (h - sum(h) / W - n sum(h n) / W)  dL/dx
//   y += residual                             when given: what other readers of x contribute
// Order of summation is free; it does not depend on how rows are cut.
struct LayerNormGradient {
  int rows, width;
  const float* x;
  ptrdiff_t x_stride;     // floats, as all strides
  const float* gradient;  // dL/dy
  ptrdiff_t gradient_stride;
  const float* gamma;  // [width]
  float eps;
  const float* residual;  // or null; may be the rows of y
  ptrdiff_t residual_stride;
  float* y;
  ptrdiff_t y_stride;
};

constexpr int kLayerNormGradientTaskRows = 32;
static constexpr int layernorm_gradient_tasks(int rows) {
  return (rows + kLayerNormGradientTaskRows - 1) / kLayerNormGradientTaskRows;
}

void layernorm_gradient_reference(const LayerNormGradient& op);

}  // namespace fewbit
