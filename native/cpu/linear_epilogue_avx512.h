// finish_panels, and whole rows at once where a look-up of 64 bytes costs what one of 16 does: shared by the VNNI and the AMX
// kernel.
#pragma once

#include "cpu/simd_avx512.h"

#include "cpu/linear_epilogue_simd.h"

namespace fewbit {
namespace {

// The VNNI kernel reads the weights of so many rows without scratch, which the AMX kernel has no way to do.
constexpr int kFewRows = 2;

// Whole rows of a tile.
inline void finish_whole_rows(const LinearCodes& op, const EncoderF32x16& encode, int row_begin, int rows, int output,
                              const int32_t* acc) {
  static_assert(kTileOutputs == 64, "four vectors");
  const Column c0(op, encode, Panel(output, 16)), c1(op, encode, Panel(output + 16, 16)), c2(op, encode, Panel(output + 32, 16)),
      c3(op, encode, Panel(output + 48, 16));
  const RoundingF32x16 round(op.pre_activation);
  const auto scaled = [&](const Column& column, ptrdiff_t t, const int32_t* acc) {
    return mul(column.finish(op, round, t, acc), column.inverse);
  };
  for (ptrdiff_t t = row_begin; t < row_begin + rows; ++t, acc += kTileOutputs) {
    const __m512i bytes =
        encode.scaled(scaled(c0, t, acc), scaled(c1, t, acc + 16), scaled(c2, t, acc + 32), scaled(c3, t, acc + 48));
    _mm512_storeu_si512(op.y_codes + t * op.y_codes_stride + output, bytes);
  }
}

// acc: as finish_panels takes it.
inline void finish_codes(const LinearCodes& op, const EncoderF32x16& encode, int row_begin, int rows, int output_begin,
                         int output_end, const int32_t* acc) {
  if (op.y_codes && op.encode.table && output_end - output_begin == kTileOutputs)
    finish_whole_rows(op, encode, row_begin, rows, output_begin, acc);
  else
    finish_panels(op, encode, row_begin, rows, output_begin, output_end, acc);
}

}  // namespace
}  // namespace fewbit
