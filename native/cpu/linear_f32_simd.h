// LinearF32 in blocks of six rows and as many panels as the registers hold, one fma a product. Each sum takes the inputs in
// order, so the result does not depend on how rows are cut. Include simd_avx512.h or simd_avx2.h first.
#pragma once

#include "cpu/linear_epilogue_simd.h"

namespace fewbit {
namespace {

// acc[r][16 p + n] = sum over inputs. w: panels of [inputs][16].
template <int R, int P>
void multiply(const float* x, ptrdiff_t x_stride, const float* w, ptrdiff_t inputs, float* acc) {
  F32x16 sum[R][P];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) sum[r][p] = set16(0.0f);
  }
  for (ptrdiff_t i = 0; i < inputs; ++i) {
    F32x16 weight[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) weight[p] = load(w + 16 * (p * inputs + i));
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const F32x16 value = set16(x[r * x_stride + i]);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) sum[r][p] = fma(value, weight[p], sum[r][p]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) store(acc + r * kTileOutputs + 16 * p, sum[r][p]);
  }
}

using Multiply = void (*)(const float*, ptrdiff_t, const float*, ptrdiff_t, float*);

template <int P = kRegisterPanels>
Multiply multiply_of(int rows, int panels) {
  if constexpr (P > 1)
    if (panels < P) return multiply_of<P - 1>(rows, panels);
  static_assert(kRegisterRows == 6, "as many entries");
  constexpr Multiply table[] = {multiply<1, P>, multiply<2, P>, multiply<3, P>, multiply<4, P>, multiply<5, P>, multiply<6, P>};
  return table[rows - 1];
}

inline void linear_f32(const LinearF32& op, int task) {
  const Tile tile = linear_tile(op, task);
  const int panels = ceil_div(tile.output_end - tile.output_begin, 16);
  const float* weight = op.weight + ptrdiff_t(tile.output_begin) * op.inputs;
  alignas(64) float acc[kRegisterRows * kTileOutputs];
  for (int row = tile.row_begin; row < tile.row_end; row += kRegisterRows) {
    const int rows = tile.row_end - row < kRegisterRows ? tile.row_end - row : kRegisterRows;
    const float* x = op.x + row * op.x_stride;
    for (int p = 0; p < panels; p += kRegisterPanels)
      multiply_of(rows, panels - p)(x, op.x_stride, weight + ptrdiff_t(16) * p * op.inputs, op.inputs, acc + 16 * p);
    finish_floats(op, row, rows, tile.output_begin, tile.output_end, acc);
  }
}

}  // namespace
}  // namespace fewbit
