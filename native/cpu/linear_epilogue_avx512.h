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

// Whole rows of a tile that have one code, to bytes.
class RowFinisher {
 public:
  RowFinisher(const LinearCodes& op, const EncoderF32x16& encode, int output)
      : op_(op),
        encode_(encode),
        round_(op.pre_activation),
        output_(output),
        columns_{{op, encode, Panel(output, 16)},
                 {op, encode, Panel(output + 16, 16)},
                 {op, encode, Panel(output + 32, 16)},
                 {op, encode, Panel(output + 48, 16)}} {
    static_assert(kTileOutputs == 64, "four vectors");
    if (LevelBytes::serve(op)) levels_.emplace(op, encode);
  }

  void operator()(ptrdiff_t t, const int32_t* acc) const {
    _mm512_storeu_si512(op_.y_codes + t * op_.y_codes_stride + output_, levels_ ? bytes_of_levels(acc) : bytes(t, acc));
  }

 private:
  __m512i bytes_of_levels(const int32_t* acc) const {
    const auto y = [&](int p) { return columns_[p].product(acc + 16 * p); };
    return (*levels_)(y(0), y(1), y(2), y(3));
  }
  __m512i bytes(ptrdiff_t t, const int32_t* acc) const {
    const auto y = [&](int p) { return mul(columns_[p].finish(op_, round_, t, acc + 16 * p), columns_[p].inverse); };
    return encode_.scaled(y(0), y(1), y(2), y(3));
  }

  const LinearCodes& op_;
  const EncoderF32x16& encode_;
  const RoundingF32x16 round_;
  const int output_;
  const Column columns_[4];
  std::optional<LevelBytes> levels_;
};

// Rows of a tile of any width, a few at a time.
class TileFinisher {
 public:
  TileFinisher(const LinearCodes& op, const Tile& tile) : op_(op), encoders_(op.encode), tile_(tile) {
    if (!op.y_codes || tile.output_end - tile.output_begin < kTileOutputs) return;
    whole_.emplace(op, encoders_.usual, tile.output_begin);
    if (encoders_.any(tile.row_begin, tile.row_end)) fine_.emplace(op, encoders_.fine, tile.output_begin);
  }

  // acc: [rows][kTileOutputs] int32, 64-byte aligned, without correction.
  FEWBIT_NOINLINE void operator()(int row, int rows, const int32_t* acc) const {
    if (!whole_) return finish_panels(op_, encoders_, row, rows, tile_.output_begin, tile_.output_end, acc);
    encoders_.for_runs(row, row + rows, [&](int t, int end) {
      const RowFinisher& finish = encoders_.is_fine(t) ? *fine_ : *whole_;
      for (; t < end; ++t, acc += kTileOutputs) finish(t, acc);
    });
  }

 private:
  const LinearCodes& op_;
  const RowEncoders encoders_;
  const Tile tile_;
  std::optional<RowFinisher> whole_, fine_;
};

}  // namespace
}  // namespace fewbit
