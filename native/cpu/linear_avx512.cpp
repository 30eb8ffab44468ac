// LinearCodes on AVX-512 VNNI.
#include "cpu/implementations.h"
#include "cpu/linear_epilogue_avx512.h"
#include "cpu/product_avx512.h"
#include "cpu/weight_rows_avx512.h"

namespace fewbit {
namespace {

constexpr int kMostFinishedBlocks = 4;  // at once: their sums are 6 KiB, which stay in the first-level cache
constexpr int kPanels = kTileOutputs / 16;

// The sum of `blocks` times 32 bytes.
inline int32_t sum_bytes(const uint8_t* x, int blocks) {
  __m256i sums = _mm256_setzero_si256();
  for (int c = 0; c < blocks; ++c, x += kBlockInputs)
    sums =
        _mm256_add_epi64(sums, _mm256_sad_epu8(_mm256_load_si256(reinterpret_cast<const __m256i*>(x)), _mm256_setzero_si256()));
  return static_cast<int32_t>(_mm512_reduce_add_epi64(_mm512_zextsi256_si512(sums)));
}

// How far ahead weights of few bits are fetched. Their planes are read out of order, which the prefetcher of the processor takes
// for no stream, and decoding fills the window in which loads are started. Of 6 and more bits it fetches enough by itself.
constexpr int kFetchBytes = 1024;
constexpr int kFetchedBits = 5;

// The lines of a block, into the second-level cache: the first one has too few lines on their way.
template <int bits>
inline void fetch_block(const uint8_t* block) {
#pragma GCC unroll 5
  for (int line = 0; line < bits; ++line) _mm_prefetch(reinterpret_cast<const char*>(block + kRowBytes * line), _MM_HINT_T1);
}

// acc[r][0..64) of at most kFewRows rows, whose weights are read once: decoded in registers, four panels at a time, so that
// memory gives what it can. Through scratch they would wait for memory and for the multiplication in turn. What is decoded is
// u = w + 2^(bits-1): sum x w = sum x u - 2^(bits-1) sum x, over the padding too.
template <int bits, int R>
FEWBIT_NOINLINE void multiply_packed(const uint8_t* x, ptrdiff_t x_stride, const uint8_t* packed, ptrdiff_t panel, int blocks,
                                     int32_t* acc) {
  __m512i sum[R][kPanels];
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
    const __m512i first = _mm512_set1_epi32(-sum_bytes(x + r * x_stride, blocks) * (1 << (bits - 1)));
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) sum[r][p] = first;
  }
  constexpr ptrdiff_t ahead = kFetchBytes / block_bytes(bits) * block_bytes(bits);
  for (int c = 0; c < blocks; ++c, x += kBlockInputs, packed += block_bytes(bits)) {
    if constexpr (bits <= kFetchedBits) {
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) fetch_block<bits>(packed + p * panel + ahead);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kBlockRows; ++i) {
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        const __m512i u = unsigned_row<bits>(packed + p * panel, i);
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) sum[r][p] = _mm512_dpbusd_epi32(sum[r][p], broadcast_dword(x + r * x_stride + 4 * i), u);
      }
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) _mm512_store_si512(acc + r * kTileOutputs + 16 * p, sum[r][p]);
  }
}

template <int R>
void multiply_packed(const LinearCodes& op, const uint8_t* x, int output, int32_t* acc) {
  using Function = void (*)(const uint8_t*, ptrdiff_t, const uint8_t*, ptrdiff_t, int, int32_t*);
  constexpr Function table[] = {multiply_packed<2, R>, multiply_packed<3, R>, multiply_packed<4, R>,
                                multiply_packed<5, R>, multiply_packed<6, R>, multiply_packed<7, R>};
  const ptrdiff_t panel = panel_bytes(op.inputs, op.weight_bits);
  table[op.weight_bits - 2](x, op.x_stride, op.weight + output / kBlockOutputs * panel, panel, ceil_div(op.inputs, kBlockInputs),
                            acc);
}

// The weights of a tile as int8 rows of 64 bytes, in place at 8 bits, else decoded into scratch.
PanelColumns weight_rows(const LinearCodes& op, int output, int panels, void* scratch) {
  const ptrdiff_t packed_panel = panel_bytes(op.inputs, op.weight_bits);
  const uint8_t* packed = op.weight + output / kBlockOutputs * packed_panel;
  if (op.weight_bits == 8) return {packed, packed_panel};
  const ptrdiff_t panel_stride = panel_bytes(op.inputs, 8);
  int8_t* rows = static_cast<int8_t*>(scratch);
  for (int p = 0; p < panels; ++p)
    decode_blocks(packed + p * packed_panel, op.weight_bits, ceil_div(op.inputs, kBlockInputs), rows + p * panel_stride);
  return {static_cast<uint8_t*>(scratch), panel_stride};
}

// The packed weights of the outputs behind a tile, fetched into the second-level cache while the tile is multiplied, a part in
// front of each block of rows: prefetchers of the processor stop at the end of a page and start anew, and memory has the time
// of a whole tile. What is there already costs a hundredth of it.
class NextWeights {
 public:
  NextWeights(const LinearCodes& op, const Tile& tile, int parts) {
    const ptrdiff_t panel = panel_bytes(op.inputs, op.weight_bits);
    const int outputs = op.outputs - tile.output_end < kTileOutputs ? op.outputs - tile.output_end : kTileOutputs;
    line_ = op.weight + tile.output_end / kBlockOutputs * panel;
    end_ = line_ + ceil_div(outputs, kBlockOutputs) * panel;
    part_ = (end_ - line_) / parts + kRowBytes;
  }

  void fetch_part() {
    for (const uint8_t* const stop = end_ - line_ < part_ ? end_ : line_ + part_; line_ < stop; line_ += kRowBytes)
      _mm_prefetch(reinterpret_cast<const char*>(line_), _MM_HINT_T1);
  }

 private:
  const uint8_t *line_, *end_;
  ptrdiff_t part_;
};

// Floats go out behind each block, so that the store buffer empties while the next one is multiplied: four blocks are 96 lines,
// about what it holds, and where they miss the caches the core waits for it. Codes are a quarter of that, and GELU loads its
// constants once for four blocks.
inline int finished_blocks(const LinearCodes& op) { return op.y_float && !has_activation(op) ? 1 : kMostFinishedBlocks; }

}  // namespace

void linear_codes_avx512(const LinearCodes& op, int task, void* scratch) {
  const Tile tile = linear_tile(op, task);
  const int panels = ceil_div(tile.output_end - tile.output_begin, 16);
  const TileFinisher finish(op, tile);
  alignas(64) int32_t acc[kMostFinishedBlocks * kProductRows * kTileOutputs];
  const int rows = tile.row_end - tile.row_begin;
  if (rows <= kFewRows && panels == kPanels && op.weight_bits < 8) {
    const uint8_t* x = op.x + tile.row_begin * op.x_stride;
    (rows == 1 ? multiply_packed<1> : multiply_packed<2>)(op, x, tile.output_begin, acc);
    return finish(tile.row_begin, rows, acc);
  }
  const PanelColumns weight = weight_rows(op, tile.output_begin, panels, scratch);
  const int at_once = finished_blocks(op);
  int blocks = ceil_div(rows, kProductRows);
  NextWeights next(op, tile, ceil_div(blocks, at_once));
  for (int row = tile.row_begin; blocks > 0;) {
    next.fetch_part();
    const int first = row;
    for (int i = 0; i < at_once && blocks > 0; ++i, --blocks) {
      // Nearly as many rows each: the sums of one that is left alone are too few for the latency.
      const int block_rows = ceil_div(tile.row_end - row, blocks);
      multiply_of<PanelColumns>(block_rows, panels)(op.x + row * op.x_stride, op.x_stride, 4, weight, ceil_div(op.inputs, 4),
                                                    acc + (row - first) * kTileOutputs, kTileOutputs);
      row += block_rows;
    }
    finish(first, row - first, acc);
  }
}

}  // namespace fewbit
