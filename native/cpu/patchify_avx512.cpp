#include "cpu/implementations.h"
#include "cpu/simd_avx512.h"

namespace fewbit {

// Image rows are read once from left to right in pieces of 16 pixels of one patch.
void patchify_avx512(const Patchify& op, int task, void*) {
  const int across = op.width / op.patch_width;
  const EncoderF32x16 encode(op.encode);
  for (int c = 0; c < op.channels; ++c)
    for (int dy = 0; dy < op.patch_height; ++dy) {
      const float* x = op.image + (ptrdiff_t(c) * op.height + task * op.patch_height + dy) * op.width;
      const int column = (c * op.patch_height + dy) * op.patch_width;
      for (int p = 0; p < across; ++p, x += op.patch_width) {
        const ptrdiff_t row = ptrdiff_t(task) * across + p;
        for (int dx = 0; dx < op.patch_width; dx += 16) {
          const int left = op.patch_width - dx;
          const __mmask16 mask = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1u << left) - 1);
          const __m512 v = _mm512_maskz_loadu_ps(mask, x + dx);
          if (op.y_float)
            _mm512_mask_storeu_ps(op.y_float + row * op.y_float_stride + column + dx, mask, v);
          else
            _mm_mask_storeu_epi8(op.y_codes + row * op.y_codes_stride + column + dx, mask, encode(v));
        }
      }
    }
}

}  // namespace fewbit
