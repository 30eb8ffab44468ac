// What follows the sums of LinearCodes and LinearF32, for accumulators that stand in a small buffer: one text for all vector
// paths. The order and the roundings are those of ops/linear.h, so the bits of codes are the reference's. Include simd_avx512.h
// or simd_avx2.h first.
//
// In two passes, since GELU and its tables fill the registers: `activate` does all between the product and the residual, in
// place; then come the residual and the codes. What an op has is known where a pass is compiled, so that little is asked for
// each vector.
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

// Sums of a panel to floats.
class Products {
 public:
  Products(const LinearCodes& op, int output)
      : correction_(load(op.correction + output)), scale_(load(op.scale + output)), bias_(load(op.bias + output)) {}

  F32x16 operator()(const int32_t* acc) const { return fma(to_floats(add(load(acc), correction_)), scale_, bias_); }

 private:
  I32x16 correction_;
  F32x16 scale_, bias_;
};

// What `activate` made of the sums.
struct Activated {
  Activated(const LinearCodes&, int) {}
  F32x16 operator()(const int32_t* acc) const { return load(reinterpret_cast<const float*>(acc)); }
};

inline bool has_activation(const LinearCodes& op) { return op.pre_activation || op.activation != Activation::none || op.gain; }

// pre_activation of a panel. Factors are powers of two: values over them round as values under steps times them.
class PanelRounding {
 public:
  PanelRounding(const LinearCodes& op, int output) {
    const Rounding& code = *op.pre_activation;
    const F32x16 factor = op.pre_activation_factors ? load(op.pre_activation_factors + output) : set16(1.0f);
    inverse_step_ = div(set16(code.inverse_step), factor);
    step_ = mul(set16(code.step), factor);
    low_ = static_cast<float>(code.low);
    high_ = static_cast<float>(code.high);
  }

  F32x16 operator()(F32x16 y) const { return mul(round_between(mul(y, inverse_step_), low_, high_), step_); }

 private:
  F32x16 inverse_step_, step_;
  float low_, high_;
};

template <bool kGelu, class Round>
inline void activate_panel(const LinearCodes& op, int output, int rows, int32_t* acc, const Round& round) {
  const Products product(op, output);
  const F32x16 gain = op.gain ? load(op.gain + output) : set16(1.0f);
  for (int r = 0; r < rows; ++r, acc += kTileOutputs) {
    const F32x16 y = round(product(acc));
    store(reinterpret_cast<float*>(acc), mul(kGelu ? gelu(y) : y, gain));
  }
}

template <bool kGelu>
FEWBIT_NOINLINE void activate_panels(const LinearCodes& op, int rows, int output_begin, int output_end, int32_t* acc) {
  for (int output = output_begin; output < output_end; output += 16, acc += 16) {
    if (op.pre_activation)
      activate_panel<kGelu>(op, output, rows, acc, PanelRounding(op, output));
    else
      activate_panel<kGelu>(op, output, rows, acc, [](F32x16 y) { return y; });
  }
}

// Sums of some rows to floats, in place. acc: [rows][kTileOutputs] int32, 64-byte aligned, of the outputs
// output_begin..output_end, without correction.
inline void activate(const LinearCodes& op, int rows, int output_begin, int output_end, int32_t* acc) {
  (op.activation == Activation::gelu ? activate_panels<true> : activate_panels<false>)(op, rows, output_begin, output_end, acc);
}

struct NoResidual {
  NoResidual(const LinearCodes&, const Panel&) {}
  F32x16 operator()(ptrdiff_t, F32x16 y) const { return y; }
};

class FloatResidual {
 public:
  FloatResidual(const LinearCodes& op, const Panel& panel)
      : x_(op.residual + panel.output), stride_(op.residual_stride), lanes_(panel.lanes) {}

  F32x16 operator()(ptrdiff_t row, F32x16 y) const { return add(y, load(x_ + row * stride_, lanes_)); }

 private:
  const float* x_;
  ptrdiff_t stride_;
  Lanes lanes_;
};

class CodesResidual {
 public:
  CodesResidual(const LinearCodes& op, const Panel& panel)
      : x_(op.residual_codes + panel.output),
        stride_(op.residual_codes_stride),
        lanes_(panel.lanes),
        offset_(set16(op.residual_offset)),
        scale_(load(op.residual_scale + panel.output)) {}

  F32x16 operator()(ptrdiff_t row, F32x16 y) const {
    return fma(to_floats(sub(load(x_ + row * stride_, lanes_), offset_)), scale_, y);
  }

 private:
  const uint8_t* x_;
  ptrdiff_t stride_;
  Lanes lanes_;
  I32x16 offset_;
  F32x16 scale_;
};

// y of a panel.
template <class Values, class Residual>
class Column {
 public:
  Column(const LinearCodes& op, const Panel& panel) : values_(op, panel.output), residual_(op, panel) {}

  F32x16 operator()(ptrdiff_t row, const int32_t* acc) const { return residual_(row, values_(acc)); }

 private:
  Values values_;
  Residual residual_;
};

template <class T>
struct Type {
  using type = T;
};

// Calls body(Type<C>()) with the Column that an op needs.
template <class Values, class Body>
inline void with_residual(const LinearCodes& op, Body body) {
  if (op.residual_codes) return body(Type<Column<Values, CodesResidual>>());
  if (op.residual) return body(Type<Column<Values, FloatResidual>>());
  body(Type<Column<Values, NoResidual>>());
}
template <class Body>
inline void with_column(const LinearCodes& op, Body body) {
  if (has_activation(op)) return with_residual<Activated>(op, body);
  with_residual<Products>(op, body);
}

template <class Column>
FEWBIT_NOINLINE void finish_panel(const LinearCodes& op, const EncoderF32x16& code, int row_begin, int rows, const Panel& panel,
                                  const int32_t* acc) {
  const Column column(op, panel);
  const Lanes lanes = panel.lanes;
  if (op.y_float) {
    float* const y = op.y_float + panel.output;
    const ptrdiff_t stride = op.y_float_stride;
    for (ptrdiff_t t = row_begin; t < row_begin + rows; ++t, acc += kTileOutputs) store(y + t * stride, lanes, column(t, acc));
    return;
  }
  const EncoderF32x16 encode = code;
  const F32x16 inverse = encode.inverse_steps(panel.output);
  uint8_t* const y = op.y_codes + panel.output;
  const ptrdiff_t stride = op.y_codes_stride;
  for (ptrdiff_t t = row_begin; t < row_begin + rows; ++t, acc += kTileOutputs)
    store(y + t * stride, lanes, encode(column(t, acc), inverse));
}

// The rest, behind `activate` where there is something to do for it.
inline void finish_panels(const LinearCodes& op, const RowEncoders& encoders, int row_begin, int rows, int output_begin,
                          int output_end, const int32_t* acc) {
  with_column(op, [&](auto column) {
    encoders.for_runs(row_begin, row_begin + rows, [&](int begin, int end) {
      const int32_t* sums = acc + (begin - row_begin) * kTileOutputs;
      for (int output = output_begin; output < output_end; output += 16, sums += 16)
        finish_panel<typename decltype(column)::type>(op, encoders.of(begin), begin, end - begin,
                                                      Panel(output, output_end - output), sums);
    });
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
