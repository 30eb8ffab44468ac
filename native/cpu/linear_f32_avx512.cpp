// LinearF32 on AVX-512: the same 6 x 4 block as linear_avx512.cpp, one fma a product. Each sum takes the inputs in order,
// so the result does not depend on how rows are cut.
#include "cpu/implementations.h"
#include "cpu/linear_epilogue_avx512.h"

namespace fewbit {
namespace {

constexpr int kRows = 6;
constexpr int kPanels = kTileOutputs / 16;

// acc[r][16 p + n] = sum over inputs. w: panels of [inputs][16].
template <int R, int P>
void multiply(const float* x, ptrdiff_t x_stride, const float* w, ptrdiff_t inputs, float* acc) {
  __m512 sum[R][P];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) sum[r][p] = _mm512_setzero_ps();
  }
  for (ptrdiff_t i = 0; i < inputs; ++i) {
    __m512 weight[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) weight[p] = _mm512_loadu_ps(w + 16 * (p * inputs + i));
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const __m512 value = _mm512_set1_ps(x[r * x_stride + i]);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) sum[r][p] = _mm512_fmadd_ps(value, weight[p], sum[r][p]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) _mm512_store_ps(acc + r * kTileOutputs + 16 * p, sum[r][p]);
  }
}

using Multiply = void (*)(const float*, ptrdiff_t, const float*, ptrdiff_t, float*);

template <int P>
Multiply multiply_of(int rows) {
  constexpr Multiply table[] = {multiply<1, P>, multiply<2, P>, multiply<3, P>, multiply<4, P>, multiply<5, P>, multiply<6, P>};
  return table[rows - 1];
}

Multiply multiply_of(int rows, int panels) {
  switch (panels) {
    case 1:
      return multiply_of<1>(rows);
    case 2:
      return multiply_of<2>(rows);
    case 3:
      return multiply_of<3>(rows);
    default:
      return multiply_of<kPanels>(rows);
  }
}

// acc: [rows][kTileOutputs], without bias.
void finish(const LinearF32& op, int row_begin, int rows, int output_begin, int output_end, const float* acc) {
  for (int output = output_begin; output < output_end; output += 16, acc += 16) {
    const Panel panel(output, output_end - output);
    const __m512 bias = _mm512_loadu_ps(op.bias + output);
    for (int r = 0; r < rows; ++r) {
      const ptrdiff_t t = row_begin + r;
      __m512 y = _mm512_add_ps(_mm512_load_ps(acc + r * kTileOutputs), bias);
      if (op.activation == Activation::gelu) y = gelu_f32x16(y);
      if (op.gain) y = _mm512_mul_ps(y, _mm512_loadu_ps(op.gain + output));
      if (op.residual) y = _mm512_add_ps(y, load(op.residual + t * op.residual_stride + output, panel));
      store(op.y + t * op.y_stride + output, panel, y);
    }
  }
}

}  // namespace

void linear_f32_avx512(const LinearF32& op, int task, void*) {
  const Tile tile = linear_tile(op.rows, op.outputs, task);
  const int panels = ceil_div(tile.output_end - tile.output_begin, 16);
  const float* weight = op.weight + ptrdiff_t(tile.output_begin) * op.inputs;
  alignas(64) float acc[kRows * kTileOutputs];
  for (int row = tile.row_begin; row < tile.row_end; row += kRows) {
    const int rows = tile.row_end - row < kRows ? tile.row_end - row : kRows;
    multiply_of(rows, panels)(op.x + row * op.x_stride, op.x_stride, weight, op.inputs, acc);
    finish(op, row, rows, tile.output_begin, tile.output_end, acc);
  }
}

}  // namespace fewbit
