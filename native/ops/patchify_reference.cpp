#include "ops/numeric.h"
#include "ops/patchify.h"

namespace fewbit {

void patchify_reference(const Patchify& op) {
  const int across = op.width / op.patch_width, down = op.height / op.patch_height;
  for (int patch = 0; patch < across * down; ++patch)
    for (int c = 0; c < op.channels; ++c)
      for (int dy = 0; dy < op.patch_height; ++dy)
        for (int dx = 0; dx < op.patch_width; ++dx) {
          const int row = patch / across * op.patch_height + dy, column = patch % across * op.patch_width + dx;
          const float x = op.image[(ptrdiff_t(c) * op.height + row) * op.width + column];
          const int i = (c * op.patch_height + dy) * op.patch_width + dx;
          if (op.y_float)
            op.y_float[patch * op.y_float_stride + i] = x;
          else
            op.y_codes[patch * op.y_codes_stride + i] = encode(op.encode, x);
        }
}

}  // namespace fewbit
