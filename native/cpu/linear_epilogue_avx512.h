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

inline __m512i load(const uint8_t* x, const Panel& panel) {
  return _mm512_cvtepu8_epi32(panel.full() ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(x))
                                           : _mm_maskz_loadu_epi8(panel.mask, x));
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
  __m512 scale, bias, inverse;
  __m512 factor, inverse_factor;  // of the rounding before the activation

  Column(const LinearCodes& op, const EncoderF32x16& encode, const Panel& panel)
      : panel(panel),
        correction(_mm512_loadu_si512(op.correction + panel.output)),
        scale(_mm512_loadu_ps(op.scale + panel.output)),
        bias(_mm512_loadu_ps(op.bias + panel.output)),
        inverse(encode.inverse_steps(panel.output)),
        factor(op.pre_activation_factors ? _mm512_loadu_ps(op.pre_activation_factors + panel.output) : _mm512_set1_ps(1.0f)),
        inverse_factor(_mm512_div_ps(_mm512_set1_ps(1.0f), factor)) {}

  // y of one vector of sums, before it is stored.
  __m512 finish(const LinearCodes& op, const RoundingF32x16& round, ptrdiff_t row, const int32_t* acc) const {
    const __m512i sum = _mm512_add_epi32(_mm512_load_si512(acc), correction);
    __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, bias);
    if (op.pre_activation) y = _mm512_mul_ps(round(_mm512_mul_ps(y, inverse_factor)), factor);
    if (op.activation == Activation::gelu) y = gelu_f32x16(y);
    if (op.gain) y = _mm512_mul_ps(y, _mm512_loadu_ps(op.gain + panel.output));
    if (op.residual) y = _mm512_add_ps(y, load(op.residual + row * op.residual_stride + panel.output, panel));
    if (op.residual_codes) {
      const __m512i byte = load(op.residual_codes + row * op.residual_codes_stride + panel.output, panel);
      const __m512 level = _mm512_cvtepi32_ps(_mm512_sub_epi32(byte, _mm512_set1_epi32(op.residual_offset)));
      y = _mm512_fmadd_ps(level, _mm512_loadu_ps(op.residual_scale + panel.output), y);
    }
    return y;
  }

  // y times the inverse steps.
  __m512 finish_scaled(const LinearCodes& op, const RoundingF32x16& round, ptrdiff_t row, const int32_t* acc) const {
    return _mm512_mul_ps(finish(op, round, row, acc), inverse);
  }
};

// Whole rows of a tile at once: a look-up of 64 bytes costs what one of 16 does.
inline void finish_whole_rows(const LinearCodes& op, const EncoderF32x16& encode, int row_begin, int rows, int output,
                              const int32_t* acc) {
  static_assert(kTileOutputs == 64, "four vectors");
  const Column c0(op, encode, Panel(output, 16)), c1(op, encode, Panel(output + 16, 16)), c2(op, encode, Panel(output + 32, 16)),
      c3(op, encode, Panel(output + 48, 16));
  const RoundingF32x16 round(op.pre_activation);
  for (ptrdiff_t t = row_begin; t < row_begin + rows; ++t, acc += kTileOutputs) {
    const __m512i bytes = encode.scaled(c0.finish_scaled(op, round, t, acc), c1.finish_scaled(op, round, t, acc + 16),
                                        c2.finish_scaled(op, round, t, acc + 32), c3.finish_scaled(op, round, t, acc + 48));
    _mm512_storeu_si512(op.y_codes + t * op.y_codes_stride + output, bytes);
  }
}

// acc: [rows][kTileOutputs] int32, 64-byte aligned, of the outputs output_begin..output_end, without correction.
inline void finish_codes(const LinearCodes& op, const EncoderF32x16& encode, int row_begin, int rows, int output_begin,
                         int output_end, const int32_t* acc) {
  if (op.y_codes && op.encode.table && output_end - output_begin == kTileOutputs)
    return finish_whole_rows(op, encode, row_begin, rows, output_begin, acc);
  const RoundingF32x16 round(op.pre_activation);
  for (int output = output_begin; output < output_end; output += 16, acc += 16) {
    const Column column(op, encode, Panel(output, output_end - output));
    for (int r = 0; r < rows; ++r) {
      const ptrdiff_t t = row_begin + r;
      const __m512 y = column.finish(op, round, t, acc + r * kTileOutputs);
      if (op.y_float)
        store(op.y_float + t * op.y_float_stride + output, column.panel, y);
      else
        store(op.y_codes + t * op.y_codes_stride + output, column.panel, encode(y, column.inverse));
    }
  }
}

}  // namespace
}  // namespace fewbit
