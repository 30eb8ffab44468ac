// Attention on codes with random operands, on the host and on the device. Used by tests and by the bench.
#pragma once

#include <random>
#include <vector>

#include "attention_windows.h"
#include "cuda/ops/attention_codes.h"
#include "device.h"

namespace fewbit::cuda {

struct AttentionCase {
  int images, heads, tokens, head_width;
  int p_levels = 256;     // 0 .. p_levels - 1, less what a table leaves out
  int p_fine_levels = 0;  // of two scales, the coarse one with as many levels
  bool p_codebook = false;
  int p_fine_every = 0;  // with a table
  bool y_table = false;
  int y_fine_every = 0;  // with a table
  Windows windows = {};
  float logit_step = 0;
  int gap = 0;  // bytes between rows
  bool relative = false;
};

class AttentionFixture {
 public:
  AttentionFixture(const AttentionCase& c, unsigned seed)
      : c_(c),
        random_(seed),
        width_(c.heads * c.head_width),
        stride_(3 * width_ + c.gap),
        rows_(c.windows.count * c.tokens),
        x_(size_t(c.images) * rows_ * stride_),
        y_(size_t(c.images) * rows_ * y_stride()),
        tables_(c.windows, c.heads, c.tokens, 1.0f, random_) {
    for (size_t i = 0; i < x_.size(); ++i) x_.data()[i] = static_cast<uint8_t>(random_());
    for (int h = 0; h < c.heads; ++h) {
      logit_scale_.push_back(1.5f / (74.0f * 74.0f * std::sqrt(float(c.head_width))) * (1.0f + 0.3f * float(h % 4)));
      p_inverse_step_.push_back(float(c.p_levels - 1) * (1.0f + 0.1f * float(h % 3)));
      output_scale_.push_back(1.0f / (c.relative ? 20.0f : 20.0f * float(c.p_levels)) * (1.0f + 0.2f * float(h % 2)));
    }
    for (int i = 0; i < kEncodeTable; ++i) {
      p_table_[i] = static_cast<uint8_t>(c.p_fine_levels ? nearest_of_two_scales(i)
                                                         : std::min(i < 32 ? i / 2 : i / 2 / 16 * 16, c.p_levels - 1));
      y_table_[i] = static_cast<uint8_t>(i / 2 & ~3);
    }
  }

  AttentionCodes op() {
    AttentionCodes op = {};
    op.images = c_.images, op.heads = c_.heads, op.tokens = c_.tokens, op.head_width = c_.head_width;
    op.q = x_.data(), op.k = op.q + width_, op.v = op.q + 2 * width_;
    op.q_stride = op.k_stride = op.v_stride = stride_;
    op.q_image_stride = op.k_image_stride = op.v_image_stride = rows_ * stride_;
    op.logit_scale = logit_scale_.data(), op.p_inverse_step = p_inverse_step_.data(), op.output_scale = output_scale_.data();
    op.encode_p = {1.0f, 0, c_.p_levels - 1, 0, tabled() ? p_table_ : nullptr};
    op.encode_p.fine_every = c_.p_fine_every;
    op.relative = c_.relative;
    op.y = y_.data(), op.y_stride = y_stride(), op.y_image_stride = rows_ * y_stride();
    op.encode = {60.0f, -128, 127, 128, c_.y_table ? y_table_ : nullptr};
    op.encode.fine_every = c_.y_fine_every;
    op.windows = tables_.op;
    if (c_.logit_step > 0) op.logit_step = c_.logit_step, op.logit_inverse_step = 1.0f / c_.logit_step;
    return op;
  }

  std::vector<uint8_t> expected() {
    std::vector<uint8_t> y(y_.size(), 0xCD);
    AttentionCodes o = op();
    o.y = y.data();
    attention_codes_reference(o);
    return y;
  }

  AttentionCodesParams params(Mirror& mirror) {
    const AttentionCodes o = op();
    AttentionCodesParams p{};
    p.images = o.images, p.heads = o.heads, p.tokens = o.tokens, p.head_width = o.head_width;
    const uint8_t* x = mirror.up(x_);
    p.q = {x, stride_, o.q_image_stride}, p.k = {x + width_, stride_, o.k_image_stride},
    p.v = {x + 2 * width_, stride_, o.v_image_stride};
    p.logit_scale = mirror.up(logit_scale_.data(), logit_scale_.size());
    p.p_inverse_step = mirror.up(p_inverse_step_.data(), p_inverse_step_.size());
    p.output_scale = mirror.up(output_scale_.data(), output_scale_.size());
    p.encode_p = o.encode_p, p.encode = o.encode, p.relative = o.relative;
    if (tabled()) {
      const TwoScales scales = two_scales(p_table_, p.encode_p.high);
      p.fine_levels = scales.fine_levels, p.coarse_shift = scales.coarse_shift;
      p.encode_p.table = mirror.up(p_table_, kEncodeTable);
    }
    if (c_.y_table) p.encode.table = mirror.up(y_table_, kEncodeTable);
    std::memset(y_.data(), 0xCD, y_.size());
    p.y = {mirror.up(y_), o.y_stride, o.y_image_stride};
    p.windows = o.windows;
    const size_t count = size_t(o.windows.count) * o.tokens;
    p.windows.rows = mirror.up(o.windows.rows, o.windows.rows ? count : 0);
    p.windows.bias = mirror.up(o.windows.bias, o.windows.bias ? size_t(o.heads) * o.tokens * o.tokens : 0);
    p.windows.regions = mirror.up(o.windows.regions, o.windows.regions ? count : 0);
    p.logit_inverse_step = o.logit_inverse_step, p.logit_step = o.logit_step;
    if (const int groups = attention_codes_groups(p, device())) {
      bias_.resize(attention_codes_bias_floats(o.heads, o.tokens, groups));
      foreign_.resize(attention_codes_foreign_words(o.windows.count, o.tokens, groups));
      if (o.windows.bias) {
        attention_codes_bias(o.windows.bias, o.heads, o.tokens, groups, bias_.data());
        p.bias = mirror.up(bias_.data(), bias_.size());
      }
      attention_codes_foreign(o.windows.regions, o.windows.count, o.tokens, groups, foreign_.data());
      p.foreign = mirror.up(foreign_.data(), foreign_.size());
    }
    p.workspace = mirror.make<uint8_t>(attention_codes_workspace(p, device()).bytes);
    return p;
  }

  std::vector<uint8_t> result() {
    Mirror mirror;
    AttentionCodesParams p = params(mirror);
    const Launch launch = attention_codes_launch(p, device());
    kernel_ = launch.kernel;
    run(p, launch);
    mirror.down(y_.data());
    return {y_.data(), y_.data() + y_.size()};
  }

  const std::string& kernel() const { return kernel_; }

 private:
  bool tabled() const { return c_.p_fine_levels || c_.p_codebook; }
  // Of half steps i, by looking at all levels; the upper one of two that are as near.
  int nearest_of_two_scales(int i) const {
    const int ratio = (c_.p_levels - 1) / (c_.p_fine_levels - 1);
    int best = 0;
    for (int scale : {1, ratio})
      for (int k = 0; k < c_.p_fine_levels; ++k) {
        const int level = k * scale, distance = std::abs(2 * level - i), least = std::abs(2 * best - i);
        if (distance < least || (distance == least && level > best)) best = level;
      }
    return best;
  }
  ptrdiff_t y_stride() const { return width_ + c_.gap; }

  const AttentionCase c_;
  std::mt19937 random_;
  const ptrdiff_t width_, stride_, rows_;
  Aligned<uint8_t> x_, y_;
  WindowTables tables_;
  std::vector<float> logit_scale_, p_inverse_step_, output_scale_, bias_;
  std::vector<uint32_t> foreign_;
  uint8_t p_table_[kEncodeTable], y_table_[kEncodeTable];
  std::string kernel_;
};

}  // namespace fewbit::cuda
