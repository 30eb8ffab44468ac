// The epilogue of LinearCodes for whole rows of a tile, four vectors at once: for bytes that is one packing, one look-up and one
// store of a whole line instead of four. Shared by the VNNI and the AMX kernel.
#pragma once

#include <optional>

#include "cpu/simd_avx512.h"

#include "cpu/linear_epilogue_simd.h"

namespace fewbit {
namespace {

// The VNNI kernel reads the weights of so many rows without scratch, which the AMX kernel has no way to do.
constexpr int kFewRows = 2;

// The bytes of values that are rounded to one of at most 256 levels first and have nothing of their own behind that: a table,
// which costs less than two rows of a tile, in place of GELU.
class LevelBytes {
 public:
  static bool serve(const LinearCodes& op) {
    return op.y_codes && op.pre_activation && !op.pre_activation_factors && !op.gain && !op.residual && !op.residual_codes &&
           !op.encode.inverse_steps && op.pre_activation->high - op.pre_activation->low < 256;
  }

  // serve(op) holds.
  LevelBytes(const LinearCodes& op, const EncoderF32x16& encode) : index_(index_code(*op.pre_activation)) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int i = 0; i < 256; i += 64) {
      const auto value = [&](int k) {
        const I32x16 level = add(lanes, set16(op.pre_activation->low + i + k));
        const F32x16 y = mul(to_floats(level), set16(op.pre_activation->step));
        return op.activation == Activation::gelu ? gelu(y) : y;
      };
      table_[i / 64] = encode(value(0), value(16), value(32), value(48));
    }
  }

  __m512i operator()(F32x16 y0, F32x16 y1, F32x16 y2, F32x16 y3) const {
    const __m512i i = index_(y0, y1, y2, y3);
    const __m512i below = _mm512_permutex2var_epi8(table_[0], i, table_[1]);
    const __m512i above = _mm512_permutex2var_epi8(table_[2], i, table_[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(i), below, above);
  }

 private:
  static Encoder index_code(const Rounding& code) { return {code.inverse_step, code.low, code.high, -code.low, nullptr}; }

  const EncoderF32x16 index_;
  __m512i table_[4];
};

// Whole rows of a tile that have one code.
template <class Column>
FEWBIT_NOINLINE void finish_rows(const LinearCodes& op, const EncoderF32x16& code, int output, int row_begin, int rows,
                                 const int32_t* acc) {
  static_assert(kTileOutputs == 64, "four vectors");
  const Column columns[] = {
      {op, Panel(output, 16)}, {op, Panel(output + 16, 16)}, {op, Panel(output + 32, 16)}, {op, Panel(output + 48, 16)}};
  if (op.y_float) {
    float* const y = op.y_float + output;
    const ptrdiff_t stride = op.y_float_stride;
    for (ptrdiff_t t = row_begin; t < row_begin + rows; ++t, acc += kTileOutputs) {
#pragma GCC unroll 4
      for (int p = 0; p < 4; ++p) store(y + t * stride + 16 * p, columns[p](t, acc + 16 * p));
    }
    return;
  }
  const EncoderF32x16 encode = code;
  const F32x16 inverse[] = {encode.inverse_steps(output), encode.inverse_steps(output + 16), encode.inverse_steps(output + 32),
                            encode.inverse_steps(output + 48)};
  uint8_t* const y = op.y_codes + output;
  const ptrdiff_t stride = op.y_codes_stride;
  for (ptrdiff_t t = row_begin; t < row_begin + rows; ++t, acc += kTileOutputs) {
    const auto value = [&](int p) { return mul(columns[p](t, acc + 16 * p), inverse[p]); };
    _mm512_storeu_si512(y + t * stride, encode.scaled(value(0), value(1), value(2), value(3)));
  }
}

// The same by a table of levels.
FEWBIT_NOINLINE inline void finish_levels(const LinearCodes& op, const LevelBytes& table, int output, int row_begin, int rows,
                                          const int32_t* acc) {
  const LevelBytes bytes = table;
  const Products products[] = {{op, output}, {op, output + 16}, {op, output + 32}, {op, output + 48}};
  uint8_t* const y = op.y_codes + output;
  const ptrdiff_t stride = op.y_codes_stride;
  for (ptrdiff_t t = row_begin; t < row_begin + rows; ++t, acc += kTileOutputs) {
    const auto value = [&](int p) { return products[p](acc + 16 * p); };
    _mm512_storeu_si512(y + t * stride, bytes(value(0), value(1), value(2), value(3)));
  }
}

// Rows of a tile of any width, a few at a time.
class TileFinisher {
 public:
  TileFinisher(const LinearCodes& op, const Tile& tile)
      : op_(op), encoders_(op.encode), tile_(tile), whole_(tile.output_end - tile.output_begin == kTileOutputs) {
    if (whole_ && LevelBytes::serve(op)) {
      levels_.emplace(op, encoders_.usual);
      if (encoders_.any(tile.row_begin, tile.row_end)) fine_levels_.emplace(op, encoders_.fine);
    }
    with_column(op, [&](auto column) { finish_rows_ = finish_rows<typename decltype(column)::type>; });
  }

  // acc: [rows][kTileOutputs] int32, 64-byte aligned, without correction; overwritten.
  void operator()(int row, int rows, int32_t* acc) const {
    if (!levels_ && has_activation(op_)) activate(op_, rows, tile_.output_begin, tile_.output_end, acc);
    if (!whole_) return finish_panels(op_, encoders_, row, rows, tile_.output_begin, tile_.output_end, acc);
    encoders_.for_runs(row, row + rows, [&](int begin, int end) {
      const int32_t* sums = acc + (begin - row) * kTileOutputs;
      if (levels_)
        finish_levels(op_, encoders_.is_fine(begin) ? *fine_levels_ : *levels_, tile_.output_begin, begin, end - begin, sums);
      else
        finish_rows_(op_, encoders_.of(begin), tile_.output_begin, begin, end - begin, sums);
    });
  }

 private:
  const LinearCodes& op_;
  const RowEncoders encoders_;
  const Tile tile_;
  const bool whole_;
  void (*finish_rows_)(const LinearCodes&, const EncoderF32x16&, int, int, int, const int32_t*) = nullptr;
  std::optional<LevelBytes> levels_, fine_levels_;
};

}  // namespace
}  // namespace fewbit
