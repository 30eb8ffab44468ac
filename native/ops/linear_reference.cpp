#include <vector>

#include "ops/linear.h"
#include "ops/numeric.h"

namespace fewbit {

void linear_codes_reference(const LinearCodes& op) {
  std::vector<int8_t> weight(size_t(op.outputs) * op.inputs);
  unpack_weight(op.weight, op.outputs, op.inputs, op.weight_bits, weight.data());
  for (int t = 0; t < op.rows; ++t) {
    for (int o = 0; o < op.outputs; ++o) {
      int32_t acc = op.correction[o];
      for (int i = 0; i < op.inputs; ++i) acc += op.x[t * op.x_stride + i] * weight[size_t(o) * op.inputs + i];
      float y = std::fma(float(acc), op.scale[o], op.bias[o]);
      if (op.pre_activation) y = round_to(*op.pre_activation, y, op.pre_activation_factors ? op.pre_activation_factors[o] : 1.0f);
      if (op.activation == Activation::gelu) y = gelu(y);
      if (op.gain) y = y * op.gain[o];
      if (op.residual) y = y + op.residual[t * op.residual_stride + o];
      if (op.residual_codes) {
        const int level = op.residual_codes[t * op.residual_codes_stride + o] - op.residual_offset;
        y = std::fma(float(level), op.residual_scale[o], y);
      }
      if (op.y_float)
        op.y_float[t * op.y_float_stride + o] = y;
      else
        op.y_codes[t * op.y_codes_stride + o] = encode(encoder_of_row(op.encode, t), y, o);
    }
  }
}

void linear_f32_reference(const LinearF32& op) {
  for (int t = 0; t < op.rows; ++t) {
    for (int o = 0; o < op.outputs; ++o) {
      const float* w = op.weight + size_t(o / 16) * op.inputs * 16 + o % 16;
      double acc = op.bias[o];
      for (int i = 0; i < op.inputs; ++i) acc += double(op.x[t * op.x_stride + i]) * w[size_t(i) * 16];
      float y = static_cast<float>(acc);
      if (op.activation == Activation::gelu) y = gelu(y);
      if (op.gain) y = y * op.gain[o];
      if (op.residual) y = y + op.residual[t * op.residual_stride + o];
      op.y[t * op.y_stride + o] = y;
    }
  }
}

}  // namespace fewbit
