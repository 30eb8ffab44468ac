// What follows the integer sums of LinearCodes, for accumulators that stand in a small buffer: shared by the VNNI and the
// AMX kernel. The order and the roundings are those of ops/linear.h, so the bits are the reference's.
#pragma once

#include <immintrin.h>

#include "cpu/simd_avx512.h"
#include "ops/linear.h"

namespace fewbit {
namespace {

// A column of at most 16 outputs.
struct Panel {
  int output;
  __mmask16 mask;  // outputs that exist

  Panel(int output, int outputs) : output(output), mask(outputs >= 16 ? 0xffff : (1u << outputs) - 1) {}
  bool full() const { return mask == 0xffff; }
};

inline __m512 load(const float* x, const Panel& panel) {
  return panel.full() ? _mm512_loadu_ps(x) : _mm512_maskz_loadu_ps(panel.mask, x);
}

inline void store(float* y, const Panel& panel, __m512 v) {
  if (panel.full())
    _mm512_storeu_ps(y, v);
  else
    _mm512_mask_storeu_ps(y, panel.mask, v);
}

inline void store(uint8_t* y, const Panel& panel, __m128i v) {
  if (panel.full())
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), v);
  else
    _mm_mask_storeu_epi8(y, panel.mask, v);
}

// The constants of a panel.
struct Column {
  Panel panel;
  __m512i correction;
  __m512 scale, bias;

  Column(const LinearCodes& op, const Panel& panel)
      : panel(panel),
        correction(_mm512_loadu_si512(op.correction + panel.output)),
        scale(_mm512_loadu_ps(op.scale + panel.output)),
        bias(_mm512_loadu_ps(op.bias + panel.output)) {}

  // y of one vector of sums, before it is stored.
  __m512 finish(const LinearCodes& op, ptrdiff_t row, const int32_t* acc) const {
    const __m512i sum = _mm512_add_epi32(_mm512_load_si512(acc), correction);
    __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, bias);
    if (op.activation == Activation::gelu) y = gelu_f32x16(y);
    if (op.gain) y = _mm512_mul_ps(y, _mm512_loadu_ps(op.gain + panel.output));
    if (op.residual) y = _mm512_add_ps(y, load(op.residual + row * op.residual_stride + panel.output, panel));
    return y;
  }
};

// Whole rows of a tile at once: a look-up of 64 bytes costs what one of 16 does.
inline void finish_whole_rows(const LinearCodes& op, const EncoderF32x16& encode, int row_begin, int rows, int output,
                              const int32_t* acc) {
  static_assert(kTileOutputs == 64, "four vectors");
  const Column c0(op, Panel(output, 16)), c1(op, Panel(output + 16, 16)), c2(op, Panel(output + 32, 16)),
      c3(op, Panel(output + 48, 16));
  for (ptrdiff_t t = row_begin; t < row_begin + rows; ++t, acc += kTileOutputs) {
    const __m512i bytes =
        encode(c0.finish(op, t, acc), c1.finish(op, t, acc + 16), c2.finish(op, t, acc + 32), c3.finish(op, t, acc + 48));
    _mm512_storeu_si512(op.y_codes + t * op.y_codes_stride + output, bytes);
  }
}

// acc: [rows][kTileOutputs] int32, 64-byte aligned, of the outputs output_begin..output_end, without correction.
inline void finish_codes(const LinearCodes& op, const EncoderF32x16& encode, int row_begin, int rows, int output_begin,
                         int output_end, const int32_t* acc) {
  if (op.y_codes && op.encode.table && output_end - output_begin == kTileOutputs)
    return finish_whole_rows(op, encode, row_begin, rows, output_begin, acc);
  for (int output = output_begin; output < output_end; output += 16, acc += 16) {
    const Column column(op, Panel(output, output_end - output));
    for (int r = 0; r < rows; ++r) {
      const ptrdiff_t t = row_begin + r;
      const __m512 y = column.finish(op, t, acc + r * kTileOutputs);
      if (op.y_float)
        store(op.y_float + t * op.y_float_stride + output, column.panel, y);
      else
        store(op.y_codes + t * op.y_codes_stride + output, column.panel, encode(y));
    }
  }
}

}  // namespace
}  // namespace fewbit
