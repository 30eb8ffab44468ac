// Image rows are read once from left to right in pieces of 16 pixels of one patch. Include simd_avx512.h or simd_avx2.h first.
#pragma once

#include "ops/patchify.h"

namespace fewbit {
namespace {

inline void patchify(const Patchify& op, int task) {
  const int across = op.width / op.patch_width;
  const EncoderF32x16 encode(op.encode);
  for (int c = 0; c < op.channels; ++c)
    for (int dy = 0; dy < op.patch_height; ++dy) {
      const float* x = op.image + (ptrdiff_t(c) * op.height + task * op.patch_height + dy) * op.width;
      const int column = (c * op.patch_height + dy) * op.patch_width;
      for (int p = 0; p < across; ++p, x += op.patch_width) {
        const ptrdiff_t row = ptrdiff_t(task) * across + p;
        for (int dx = 0; dx < op.patch_width; dx += 16) {
          const Lanes lanes(op.patch_width - dx);
          const F32x16 v = load(x + dx, lanes);
          if (op.y_float)
            store(op.y_float + row * op.y_float_stride + column + dx, lanes, v);
          else
            store(op.y_codes + row * op.y_codes_stride + column + dx, lanes, encode(v));
        }
      }
    }
}

}  // namespace
}  // namespace fewbit
