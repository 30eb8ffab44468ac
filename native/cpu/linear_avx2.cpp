// LinearCodes on AVX2.
//
//   vpmaddubsw ymm: 32 products u8 x s8 added in pairs to 16 int16, two a cycle. With weights of k bits a lane gains at most
//   2 * 255 * 2^(k-1) a step, so that 2^(7-k) steps fit: eight with 4 bits and fewer, four with 5, two with 6. Then vpmaddwd
//   with ones adds the lanes in pairs to int32. With 7 and 8 bits all is widened to 16 bits first (product_avx2.h), which
//   takes twice as many instructions.
//
// A block is 6 rows x 16 outputs, the sums of a group of steps: twelve registers of sixteen. The int32 sums of the groups
// before are in memory, in the first-level cache.
//
// 197 rows of DeiT-Small on a core of Zen 4 whose vpdpbusd makes 0.47 TOP/s: 0.28 with 4 bits, 0.25 with 5, 0.16 with 8.
#include "cpu/implementations.h"
#include "cpu/product_avx2.h"
#include "cpu/simd_avx2.h"
#include "cpu/weight_rows_avx2.h"

#include "cpu/linear_epilogue_simd.h"

namespace fewbit {
namespace {

constexpr int kRows = 6;

// acc[r][0..16) = sum over `groups` times kSteps quads of x times rows of weights.
template <int R, int kSteps>
FEWBIT_NOINLINE void multiply_quads(const uint8_t* x, ptrdiff_t x_stride, const int8_t* w, int groups, int32_t* acc) {
  const __m256i ones = _mm256_set1_epi16(1);
  for (int r = 0; r < R; ++r)
    for (int half = 0; half < 2; ++half)
      _mm256_store_si256(reinterpret_cast<__m256i*>(acc + r * kTileOutputs + 8 * half), _mm256_setzero_si256());
  for (int group = 0; group < groups; ++group) {
    __m256i sum[R][2];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
#pragma GCC unroll 1  // unrolled, gcc 12 adds all steps up at last and keeps their products in memory
    for (int step = 0; step < kSteps; ++step, x += 4, w += kRowBytes) {
      const __m256i low = _mm256_load_si256(reinterpret_cast<const __m256i*>(w));
      const __m256i high = _mm256_load_si256(reinterpret_cast<const __m256i*>(w + 32));
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const __m256i quad = broadcast_dword(x + r * x_stride);
        sum[r][0] = _mm256_add_epi16(sum[r][0], _mm256_maddubs_epi16(quad, low));
        sum[r][1] = _mm256_add_epi16(sum[r][1], _mm256_maddubs_epi16(quad, high));
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        __m256i* total = reinterpret_cast<__m256i*>(acc + r * kTileOutputs + 8 * half);
        _mm256_store_si256(total, _mm256_add_epi32(_mm256_load_si256(total), _mm256_madd_epi16(sum[r][half], ones)));
      }
    }
  }
}

// Weights of a tile with few bits: int8 rows as they are decoded, panel p at data + p * panel_stride.
class QuadWeights {
 public:
  QuadWeights(const LinearCodes& op, int output, int panels, void* scratch)
      : bits_(op.weight_bits),
        blocks_(ceil_div(op.inputs, kBlockInputs)),
        panel_stride_(panel_bytes(op.inputs, 8)),
        rows_(static_cast<int8_t*>(scratch)) {
    decode_blocks(op.weight + output / kBlockOutputs * panel_bytes(op.inputs, bits_), bits_, panels * blocks_, rows_);
  }

  void multiply(const uint8_t* x, ptrdiff_t x_stride, int rows, int panel, int32_t* acc) const {
    const int steps = bits_ <= 4 ? 8 : bits_ == 5 ? 4 : 2;
    function(rows, steps)(x, x_stride, rows_ + panel * panel_stride_, blocks_ * (kBlockRows / steps), acc);
  }

 private:
  using Function = void (*)(const uint8_t*, ptrdiff_t, const int8_t*, int, int32_t*);
  template <int kSteps>
  static Function function(int rows) {
    constexpr Function table[] = {multiply_quads<1, kSteps>, multiply_quads<2, kSteps>, multiply_quads<3, kSteps>,
                                  multiply_quads<4, kSteps>, multiply_quads<5, kSteps>, multiply_quads<6, kSteps>};
    return table[rows - 1];
  }
  static Function function(int rows, int steps) {
    return steps == 8 ? function<8>(rows) : steps == 4 ? function<4>(rows) : function<2>(rows);
  }

  int bits_, blocks_;
  ptrdiff_t panel_stride_;
  int8_t* rows_;
};

// Weights of a tile with 7 or 8 bits: of each row of a block the pairs of inputs 0 and 1 of all outputs, then those of 2 and 3.
// Rows of x are widened in the order that they have.
class PairWeights {
 public:
  PairWeights(const LinearCodes& op, int output, int panels, void* scratch)
      : blocks_(ceil_div(op.inputs, kBlockInputs)),
        panel_stride_(panel_bytes(op.inputs, 8)),
        pairs_(static_cast<int16_t*>(scratch)),
        x_(pairs_ + panel_stride_ * (kTileOutputs / kBlockOutputs)) {
    const ptrdiff_t block = block_bytes(op.weight_bits);
    const uint8_t* packed = op.weight + output / kBlockOutputs * panel_bytes(op.inputs, op.weight_bits);
    int16_t* pairs = pairs_;
    alignas(32) int8_t decoded[kBlockRows * kRowBytes];
    for (int i = 0; i < panels * blocks_; ++i, packed += block, pairs += kBlockRows * kRowBytes) {
      if (op.weight_bits != 8) decode_blocks(packed, op.weight_bits, 1, decoded);
      widen_block(op.weight_bits == 8 ? reinterpret_cast<const int8_t*>(packed) : decoded, pairs);
    }
  }

  void widen_rows(const uint8_t* x, ptrdiff_t x_stride, int rows) const {
    const ptrdiff_t inputs = ptrdiff_t(blocks_) * kBlockInputs;
    for (int r = 0; r < rows; ++r)
      for (ptrdiff_t i = 0; i < inputs; i += 16)
        _mm256_store_si256(reinterpret_cast<__m256i*>(x_ + r * inputs + i),
                           _mm256_cvtepu8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(x + r * x_stride + i))));
  }

  // Of the rows that were widened last.
  void multiply(int rows, int panel, int32_t* acc) const {
    using Function = void (*)(const int16_t*, ptrdiff_t, const int16_t*, ptrdiff_t, int, int32_t*, ptrdiff_t);
    constexpr Function table[] = {multiply_pairs<1>, multiply_pairs<2>, multiply_pairs<3>,
                                  multiply_pairs<4>, multiply_pairs<5>, multiply_pairs<6>};
    const ptrdiff_t inputs = ptrdiff_t(blocks_) * kBlockInputs;
    table[rows - 1](x_, inputs, pairs_ + panel * panel_stride_, 2 * kBlockOutputs, static_cast<int>(inputs / 2), acc,
                    kTileOutputs);
  }

 private:
  static void widen_block(const int8_t* rows, int16_t* pairs) {
    // The bytes 4 n and 4 n + 1 (4 n + 2 and 4 n + 3) of a lane to the upper halves of 16 bits.
    const __m256i first = _mm256_broadcastsi128_si256(_mm_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13));
    const __m256i second = _mm256_broadcastsi128_si256(_mm_setr_epi8(-1, 2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15));
    for (int i = 0; i < kBlockRows; ++i, rows += kRowBytes, pairs += kRowBytes)
      for (int half = 0; half < 2; ++half) {
        const __m256i row = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows + 32 * half));
        const auto widened = [row](__m256i order) { return _mm256_srai_epi16(_mm256_shuffle_epi8(row, order), 8); };
        _mm256_store_si256(reinterpret_cast<__m256i*>(pairs + 16 * half), widened(first));
        _mm256_store_si256(reinterpret_cast<__m256i*>(pairs + 32 + 16 * half), widened(second));
      }
  }

  int blocks_;
  ptrdiff_t panel_stride_;
  int16_t *pairs_, *x_;
};

// multiply(row, rows) fills the sums of some rows, [rows][kTileOutputs].
template <class Multiply>
void tile_rows(const LinearCodes& op, const Tile& tile, int32_t* acc, Multiply multiply) {
  const RowEncoders encoders(op.encode);
  for (int row = tile.row_begin; row < tile.row_end; row += kRows) {
    const int rows = tile.row_end - row < kRows ? tile.row_end - row : kRows;
    multiply(row, rows);
    if (has_activation(op)) activate(op, rows, tile.output_begin, tile.output_end, acc);
    finish_panels(op, encoders, row, rows, tile.output_begin, tile.output_end, acc);
  }
}

}  // namespace

void linear_codes_avx2(const LinearCodes& op, int task, void* scratch) {
  const Tile tile = linear_tile(op, task);
  const int panels = ceil_div(tile.output_end - tile.output_begin, kBlockOutputs);
  alignas(64) int32_t acc[kRows * kTileOutputs];
  if (op.weight_bits <= 6) {
    const QuadWeights weights(op, tile.output_begin, panels, scratch);
    tile_rows(op, tile, acc, [&](int row, int rows) {
      for (int p = 0; p < panels; ++p) weights.multiply(op.x + row * op.x_stride, op.x_stride, rows, p, acc + kBlockOutputs * p);
    });
  } else {
    const PairWeights weights(op, tile.output_begin, panels, scratch);
    tile_rows(op, tile, acc, [&](int row, int rows) {
      weights.widen_rows(op.x + row * op.x_stride, op.x_stride, rows);
      for (int p = 0; p < panels; ++p) weights.multiply(rows, p, acc + kBlockOutputs * p);
    });
  }
}

}  // namespace fewbit
