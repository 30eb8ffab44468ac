// Inputs and targets that the tests of ops share.
#pragma once

#include <random>

#include "device.h"
#include "ops/encode.h"

namespace fewbit::cuda {

enum class Target { floats, codes, table };

// Images of rows, with a gap behind each row and a few elements behind each image.
struct Layout {
  int images, rows, width, gap;
  int64_t stride() const { return width + gap; }
  int64_t image_stride() const { return rows * stride() + 4; }
  int64_t count() const { return (images - 1) * image_stride() + (rows - 1) * stride() + width; }
  template <class T>
  Matrix<T> matrix(T* data) const {
    return {data, stride(), image_stride()};
  }
};

inline Aligned<float> random_floats(size_t count, std::mt19937& random, float deviation = 1.0f) {
  Aligned<float> values(count);
  std::normal_distribution<float> normal(0.0f, deviation);
  for (size_t i = 0; i < count; ++i) values.data()[i] = normal(random);
  return values;
}

inline Aligned<uint8_t> random_bytes(size_t count, std::mt19937& random) {
  Aligned<uint8_t> values(count);
  for (size_t i = 0; i < count; ++i) values.data()[i] = static_cast<uint8_t>(random());
  return values;
}

// An output that the reference and the device both write; what they leave must be the same bytes, guards included.
class Output {
 public:
  Output(const Layout& layout, Target target)
      : layout_(layout),
        floats_(target == Target::floats),
        want_float_(floats_ ? layout.count() : 0),
        got_float_(floats_ ? layout.count() : 0),
        want_codes_(floats_ ? 0 : layout.count()),
        got_codes_(floats_ ? 0 : layout.count()) {
    for (int i = 0; i < kEncodeTable; ++i) table_[i] = static_cast<uint8_t>(i / 2 & ~7);
    encode_ = {20.0f, -128, 127, 128, target == Target::table ? table_ : nullptr};
  }

  // The fields of an op of one image: of the reference, or of all images on the device.
  template <class Op>
  void set(Op* op, int image) {
    op->y_float = floats_ ? want_float_.data() + image * layout_.image_stride() : nullptr;
    op->y_codes = floats_ ? nullptr : want_codes_.data() + image * layout_.image_stride();
    op->encode = encode_;
  }
  template <class Params>
  void set(Params* params, Mirror& mirror) {
    if (floats_)
      params->y_float = layout_.matrix(mirror.up(got_float_));
    else
      params->y_codes = layout_.matrix(mirror.up(got_codes_));
    params->encode = encode_;
    if (encode_.table) params->encode.table = mirror.up(table_, kEncodeTable);
  }
  bool equal(Mirror& mirror) {
    if (floats_) {
      mirror.down(got_float_);
      return got_float_.bytes() == want_float_.bytes();
    }
    mirror.down(got_codes_);
    return got_codes_.bytes() == want_codes_.bytes();
  }

 private:
  Layout layout_;
  bool floats_;
  Guarded<float> want_float_, got_float_;
  Guarded<uint8_t> want_codes_, got_codes_;
  uint8_t table_[kEncodeTable];
  Encoder encode_{};
};

}  // namespace fewbit::cuda
