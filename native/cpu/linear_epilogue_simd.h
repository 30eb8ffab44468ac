// What follows the sums of LinearCodes and LinearF32, for accumulators that stand in a small buffer: one text for all vector
// paths. The order and the roundings are those of ops/linear.h, so the bits of codes are the reference's. Include simd_avx512.h
// or simd_avx2.h first.
#pragma once

#include "cpu/row_encoders_simd.h"
#include "ops/linear.h"

namespace fewbit {
namespace {

// A column of at most 16 outputs.
struct Panel {
  int output;
  Lanes lanes;  // outputs that exist

  Panel(int output, int outputs) : output(output), lanes(outputs) {}
};

// The constants of a panel.
struct Column {
  Panel panel;
  I32x16 correction;
  F32x16 scale, bias, inverse;

  Column(const LinearCodes& op, const EncoderF32x16& encode, const Panel& panel)
      : panel(panel),
        correction(load(op.correction + panel.output)),
        scale(load(op.scale + panel.output)),
        bias(load(op.bias + panel.output)),
        inverse(encode.inverse_steps(panel.output)) {}

  // A vector of sums as floats.
  F32x16 product(const int32_t* acc) const { return fma(to_floats(add(load(acc), correction)), scale, bias); }

  // y of one vector of sums, before it is stored.
  F32x16 finish(const LinearCodes& op, const RoundingF32x16& round, ptrdiff_t row, const int32_t* acc) const {
    F32x16 y = product(acc);
    if (op.pre_activation) y = pre_activation(op, round, y);
    if (op.activation == Activation::gelu) y = gelu(y);
    if (op.gain) y = mul(y, load(op.gain + panel.output));
    if (op.residual) y = add(y, load(op.residual + row * op.residual_stride + panel.output, panel.lanes));
    if (op.residual_codes) {
      const I32x16 byte = load(op.residual_codes + row * op.residual_codes_stride + panel.output, panel.lanes);
      const F32x16 level = to_floats(sub(byte, set16(op.residual_offset)));
      y = fma(level, load(op.residual_scale + panel.output), y);
    }
    return y;
  }

 private:
  F32x16 pre_activation(const LinearCodes& op, const RoundingF32x16& round, F32x16 y) const {
    if (!op.pre_activation_factors) return round(y);
    const F32x16 factor = load(op.pre_activation_factors + panel.output);
    return mul(round(div(y, factor)), factor);
  }
};

// Rows of one code. acc: [rows][kTileOutputs] int32, 64-byte aligned, of the outputs output_begin..output_end, without
// correction.
inline void finish_panels(const LinearCodes& op, const EncoderF32x16& encode, int row_begin, int rows, int output_begin,
                          int output_end, const int32_t* acc) {
  const RoundingF32x16 round(op.pre_activation);
  for (int output = output_begin; output < output_end; output += 16, acc += 16) {
    const Column column(op, encode, Panel(output, output_end - output));
    for (int r = 0; r < rows; ++r) {
      const ptrdiff_t t = row_begin + r;
      const F32x16 y = column.finish(op, round, t, acc + r * kTileOutputs);
      if (op.y_float)
        store(op.y_float + t * op.y_float_stride + output, column.panel.lanes, y);
      else
        store(op.y_codes + t * op.y_codes_stride + output, column.panel.lanes, encode(y, column.inverse));
    }
  }
}

inline void finish_panels(const LinearCodes& op, const RowEncoders& encoders, int row_begin, int rows, int output_begin,
                          int output_end, const int32_t* acc) {
  encoders.for_runs(row_begin, row_begin + rows, [&](int begin, int end) {
    finish_panels(op, encoders.of(begin), begin, end - begin, output_begin, output_end, acc + (begin - row_begin) * kTileOutputs);
  });
}

// acc: [rows][kTileOutputs], without bias.
inline void finish_floats(const LinearF32& op, int row_begin, int rows, int output_begin, int output_end, const float* acc) {
  for (int output = output_begin; output < output_end; output += 16, acc += 16) {
    const Panel panel(output, output_end - output);
    const F32x16 bias = load(op.bias + output);
    for (int r = 0; r < rows; ++r) {
      const ptrdiff_t t = row_begin + r;
      F32x16 y = add(load(acc + r * kTileOutputs), bias);
      if (op.activation == Activation::gelu) y = gelu(y);
      if (op.gain) y = mul(y, load(op.gain + output));
      if (op.residual) y = add(y, load(op.residual + t * op.residual_stride + output, panel.lanes));
      store(op.y + t * op.y_stride + output, panel.lanes, y);
    }
  }
}

}  // namespace
}  // namespace fewbit
