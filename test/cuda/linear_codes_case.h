// A linear layer on codes with random operands, on the host and on the device. Used by tests and by the bench.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "cuda/ops/linear_codes.h"
#include "device.h"

namespace fewbit::cuda {

enum class Residual { none, floats, codes };

struct LinearCase {
  int images, image_rows, inputs, outputs, bits;
  bool floats = false;  // y
  bool gelu = false;
  Residual residual = Residual::none;
  int levels = 256;    // of y
  int offset = 128;    // of y
  int fine_every = 0;  // rows of an image, or a part of them, so that the reference may count anew in each
  bool table = false, steps = false, gain = false, pre_activation = false;
  bool extreme = false;         // x = 255, w = smallest
  int x_low = 0, x_levels = 0;  // when it is known that bytes of x are these
  int gap = 0;                  // elements between rows of y and of the residual
  bool apart = false;           // images lie apart, so that they are no one matrix
  int parts = 1;                // layers side by side, with targets one behind the other; codes without a gap
  int rows() const { return images * image_rows; }
};

class LinearFixture {
 public:
  LinearFixture(const LinearCase& c, unsigned seed)
      : c_(c),
        x_stride_(ceil_div(c.inputs, 64) * 64),
        x_image_(x_stride_ * (c.image_rows + (c.apart ? 1 : 0))),
        y_stride_(c.outputs + c.gap),
        y_image_(y_stride_ * (c.image_rows + (c.apart ? 2 : 0))),
        x_(c.images * x_image_),
        weight_(packed_bytes(c.outputs, c.inputs, c.bits)),
        prepared_(linear_codes_weight_bytes(c.outputs, c.inputs, c.bits)),
        correction_(ceil_div(c.outputs, 16) * 16),
        scale_(correction_.size()),
        bias_(correction_.size()),
        gain_(correction_.size()),
        factors_(correction_.size()),
        residual_scale_(correction_.size()),
        inverse_steps_(correction_.size()),
        y_(size_t(c.images * y_image_) * item()),
        residual_(y_.size()),
        residual_floats_(c.residual == Residual::floats ? y_.size() / item() : 0) {
    std::mt19937 random(seed);
    const auto uniform = [&] { return float(random() % 20001) / 10000.0f - 1.0f; };
    const int half = 1 << (c.bits - 1);
    for (size_t i = 0; i < x_.size(); ++i)
      x_.data()[i] = static_cast<uint8_t>(c.extreme ? 255 : c.x_levels ? c.x_low + random() % c.x_levels : random());
    std::vector<int8_t> codes(size_t(c.outputs) * c.inputs);
    for (auto& w : codes) w = static_cast<int8_t>(c.extreme ? -half : int(random() % (2 * half)) - half);
    pack_weight(codes.data(), c.outputs, c.inputs, c.bits, weight_.data());
    const int own = c.outputs / c.parts;
    std::vector<Aligned<uint8_t>> packed;
    std::vector<LinearWeight> layers;
    for (int i = 0; i < c.parts; ++i) {
      packed.emplace_back(packed_bytes(own, c.inputs, c.bits));
      pack_weight(&codes[size_t(i) * own * c.inputs], own, c.inputs, c.bits, packed[i].data());
      layers.push_back({packed[i].data(), c.bits});
    }
    linear_codes_weight(layers, own, c.inputs, !c.floats, prepared_.data());
    const float deviation = 74.0f * 0.6f * float(half) * std::sqrt(float(c.inputs));
    for (size_t o = 0; o < scale_.size(); ++o) {
      int32_t sum = 0;
      for (int i = 0; i < c.inputs && int(o) < c.outputs; ++i) sum += codes[o * c.inputs + i];
      correction_.data()[o] = c.x_levels && c.x_low == 0 ? 0 : -128 * sum;
      scale_.data()[o] = 2.0f / deviation * (1.5f + uniform());
      bias_.data()[o] = uniform();
      gain_.data()[o] = 1.5f + uniform();
      factors_.data()[o] = float(1 << random() % 4);
      residual_scale_.data()[o] = 0.02f * float(1 + random() % 4);
      inverse_steps_.data()[o] = 30.0f * float(1 + random() % 4);
    }
    // Falling, so that it shows where it is taken.
    for (int i = 0; i < kEncodeTable; ++i) table_[i] = static_cast<uint8_t>(255 - i / 2);
    for (size_t i = 0; i < residual_floats_.size(); ++i) residual_floats_.data()[i] = uniform();
    for (size_t i = 0; i < residual_.size(); ++i) residual_.data()[i] = static_cast<uint8_t>(random());
    encode_ = {30.0f,    -c.offset * c.levels / 256, 0,
               c.offset, c.table ? table_ : nullptr, c.steps ? inverse_steps_.data() : nullptr};
    encode_.high = encode_.low + c.levels - 1, encode_.fine_every = c.fine_every;
  }

  size_t item() const { return c_.floats ? sizeof(float) : 1; }

  // What the reference leaves in y, gaps included.
  std::vector<uint8_t> expected() const {
    std::vector<uint8_t> y(y_.size(), 0xCD);
    const Rounding rounding = {40.0f, 0.025f, -128, 100};
    for (int image = 0; image < c_.images; ++image) {
      LinearCodes op = {};
      op.rows = c_.image_rows, op.inputs = c_.inputs, op.outputs = c_.outputs;
      op.x = x_.data() + image * x_image_, op.x_stride = x_stride_;
      op.weight = weight_.data(), op.weight_bits = c_.bits;
      op.correction = correction_.data(), op.scale = scale_.data(), op.bias = bias_.data();
      op.pre_activation = c_.pre_activation ? &rounding : nullptr;
      op.pre_activation_factors = c_.bits % 2 ? factors_.data() : nullptr;
      op.activation = c_.gelu ? Activation::gelu : Activation::none;
      op.gain = c_.gain ? gain_.data() : nullptr;
      const ptrdiff_t first = image * y_image_;
      if (c_.residual == Residual::floats) op.residual = residual_floats_.data() + first;
      if (c_.residual == Residual::codes) op.residual_codes = residual_.data() + first;
      op.residual_stride = op.residual_codes_stride = y_stride_;
      op.residual_offset = 128, op.residual_scale = residual_scale_.data();
      if (c_.floats)
        op.y_float = reinterpret_cast<float*>(y.data()) + first;
      else
        op.y_codes = y.data() + first;
      op.y_float_stride = op.y_codes_stride = y_stride_, op.encode = encode_;
      linear_codes_reference(op);
    }
    return y;
  }

  // The same operands on the device.
  LinearCodesParams params(Mirror& mirror) {
    LinearCodesParams p{};
    p.rows = c_.rows(), p.image_rows = c_.apart && c_.images > 1 ? c_.image_rows : p.rows;
    p.inputs = c_.inputs, p.outputs = c_.outputs;
    p.x = {mirror.up(x_), x_stride_, x_image_};
    p.x_low = c_.x_low, p.x_levels = c_.x_levels;
    p.weight = mirror.up(prepared_), p.weight_bits = c_.bits;
    p.correction = mirror.up(correction_), p.scale = mirror.up(scale_), p.bias = mirror.up(bias_);
    p.rounds_pre_activation = c_.pre_activation, p.pre_activation = {40.0f, 0.025f, -128, 100};
    p.pre_activation_factors = c_.bits % 2 ? mirror.up(factors_) : nullptr;
    p.activation = c_.gelu ? Activation::gelu : Activation::none;
    p.gain = c_.gain ? mirror.up(gain_) : nullptr;
    if (c_.residual == Residual::floats) p.residual = {mirror.up(residual_floats_), y_stride_, y_image_};
    if (c_.residual == Residual::codes) p.residual_codes = {mirror.up(residual_), y_stride_, y_image_};
    p.residual_offset = 128, p.residual_scale = mirror.up(residual_scale_);
    std::memset(y_.data(), 0xCD, y_.size());
    uint8_t* y = mirror.up(y_);
    if (c_.floats)
      p.y_float = {reinterpret_cast<float*>(y), y_stride_, y_image_};
    else
      p.y_codes = {y, y_stride_, y_image_};
    p.encode = encode_;
    if (c_.table) p.encode.table = mirror.up(table_, kEncodeTable);
    if (c_.steps) p.encode.inverse_steps = mirror.up(inverse_steps_);
    if (c_.parts > 1) set_parts(mirror, &p);
    const Workspace workspace = linear_codes_workspace(p, device());
    p.workspace = mirror.make<uint8_t>(workspace.bytes);
    if (workspace.counters) {
      counters_.assign(workspace.counters, 0);
      p.counters = mirror.up(counters_.data(), counters_.size());
    }
    return p;
  }

  std::vector<uint8_t> result() {
    Mirror mirror;
    LinearCodesParams p = params(mirror);
    const Launch launch = linear_codes_launch(p, device());
    run(p, launch);
    mirror.down(y_.data());
    if (p.counters) mirror.down(counters_.data());
    std::vector<uint8_t> y(y_.data(), y_.data() + y_.size());
    const int own = c_.outputs / c_.parts;
    for (int part = 0; c_.parts > 1 && part < c_.parts; ++part)
      for (int r = 0; r < c_.rows(); ++r)
        std::memcpy(&y[size_t(r) * c_.outputs + part * own], &y_.data()[(size_t(part) * c_.rows() + r) * own], own);
    return y;
  }

  void set_parts(Mirror& mirror, LinearCodesParams* p) {
    const int own = c_.outputs / c_.parts;
    p->part_outputs = own, p->y_codes.stride = own;
    tables_.clear();
    for (int i = 0; i < c_.parts; ++i) {
      parts_.push_back({int64_t(i) * c_.rows() * own, encode_.low, encode_.high, encode_.offset});
      tables_.insert(tables_.end(), table_, table_ + kEncodeTable);
    }
    p->parts = mirror.up(parts_.data(), parts_.size());
    if (c_.table) p->encode.table = mirror.up(tables_.data(), tables_.size());
  }

  bool counters_are_zero() const {
    for (unsigned each : counters_)
      if (each) return false;
    return true;
  }

 private:
  const LinearCase c_;
  const int64_t x_stride_, x_image_, y_stride_, y_image_;
  Aligned<uint8_t> x_, weight_, prepared_;
  Aligned<int32_t> correction_;
  Aligned<float> scale_, bias_, gain_, factors_, residual_scale_, inverse_steps_;
  Aligned<uint8_t> y_, residual_;
  Aligned<float> residual_floats_;
  std::vector<unsigned> counters_;
  std::vector<LinearPart> parts_;
  std::vector<uint8_t> tables_;
  uint8_t table_[kEncodeTable];
  Encoder encode_;
};

}  // namespace fewbit::cuda
