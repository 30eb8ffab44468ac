#include "cpu/implementations.h"
#include "ops/numeric.h"

namespace fewbit {

// Image rows are read once from left to right; the patches of a row take turns.
void patchify_portable(const Patchify& op, int task, void*) {
  const int across = op.width / op.patch_width;
  for (int c = 0; c < op.channels; ++c)
    for (int dy = 0; dy < op.patch_height; ++dy) {
      const float* x = op.image + (ptrdiff_t(c) * op.height + task * op.patch_height + dy) * op.width;
      const int column = (c * op.patch_height + dy) * op.patch_width;
      for (int p = 0; p < across; ++p, x += op.patch_width) {
        const ptrdiff_t row = ptrdiff_t(task) * across + p;
        if (op.y_float) {
          float* y = op.y_float + row * op.y_float_stride + column;
          for (int dx = 0; dx < op.patch_width; ++dx) y[dx] = x[dx];
        } else {
          uint8_t* y = op.y_codes + row * op.y_codes_stride + column;
          for (int dx = 0; dx < op.patch_width; ++dx) y[dx] = encode(op.encode, x[dx]);
        }
      }
    }
}

}  // namespace fewbit
