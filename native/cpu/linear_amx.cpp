// LinearCodes on AMX int8.
//
//   tdpbusd: a 16 x 64 tile of x times a tile of 16 rows x 64 bytes of weights is 16 x 16 int32 over 64 inputs, 16 cycles.
//   2 x 2 blocking (32 rows x 32 outputs) needs four loads for four products: tiles 0..3 are sums, 4 and 5 x, 6 and 7
//   weights. A row of a weight tile is a row of packed_weight.h, so two blocks in the file are one tile.
//
// The last tile of x has fewer rows: a second configuration. The inputs behind the last meet zero weights, so what x
// holds there does not matter.
#include <cstring>

#include "cpu/implementations.h"
#include "cpu/linear_epilogue_avx512.h"
#include "cpu/tile_amx.h"
#include "cpu/weight_rows_avx512.h"

namespace FEWBIT_AMX_NAMESPACE {
namespace {

constexpr int kTileInputs = 64;
constexpr int kWeightTile = 16 * kRowBytes;  // bytes
constexpr int kSumRows = 32;                 // of a block of 2 x 2 tiles

// rows: of x in tiles 4 and 5 and of the sums.
TileConfig tile_config(int rows0, int rows1) {
  TileConfig config;
  const int rows[8] = {rows0, rows0, rows1, rows1, rows0, rows1, 16, 16};
  for (int t = 0; t < 8; ++t) config.set(t, rows[t], 64);
  return config;
}

// The weights of a panel as whole tiles: `in_place` of them stand in the file, the others in `copy`.
struct TilePanel {
  const int8_t* in_place;
  int in_place_tiles;
  const int8_t* copy;

  const int8_t* tile(int i) const {
    return i < in_place_tiles ? in_place + ptrdiff_t(i) * kWeightTile : copy + ptrdiff_t(i - in_place_tiles) * kWeightTile;
  }
};

// copy: room for all tiles of a panel. An odd last block gets zeros behind it.
TilePanel tile_panel(const LinearCodes& op, int output, int8_t* copy) {
  const int blocks = ceil_div(op.inputs, kBlockInputs);
  const uint8_t* packed = op.weight + output / kBlockOutputs * panel_bytes(op.inputs, op.weight_bits);
  const int in_place = op.weight_bits == 8 ? blocks / 2 : 0;
  const int rest = blocks - 2 * in_place;
  if (op.weight_bits == 8)
    std::memcpy(copy, packed + ptrdiff_t(in_place) * kWeightTile, rest * block_bytes(8));
  else
    decode_blocks(packed, op.weight_bits, rest, copy);
  if (rest % 2) std::memset(copy + rest * block_bytes(8), 0, block_bytes(8));
  return {reinterpret_cast<const int8_t*>(packed), in_place, copy};
}

// acc: 16 M rows x 16 N outputs of a tile, [rows][kTileOutputs] (fewer rows if the configuration says so).
template <int M, int N>
void multiply(const uint8_t* x, ptrdiff_t x_stride, const TilePanel* w, int steps, int32_t* acc) {
  tile_zero<0>();
  if constexpr (N > 1) tile_zero<1>();
  if constexpr (M > 1) tile_zero<2>();
  if constexpr (M > 1 && N > 1) tile_zero<3>();
  for (int i = 0; i < steps; ++i) {
    tile_load<4>(x + ptrdiff_t(i) * kTileInputs, x_stride);
    tile_load<6>(w[0].tile(i), kRowBytes);
    tile_dpbusd<0, 4, 6>();
    if constexpr (N > 1) {
      tile_load<7>(w[1].tile(i), kRowBytes);
      tile_dpbusd<1, 4, 7>();
    }
    if constexpr (M > 1) {
      tile_load<5>(x + 16 * x_stride + ptrdiff_t(i) * kTileInputs, x_stride);
      tile_dpbusd<2, 5, 6>();
      if constexpr (N > 1) tile_dpbusd<3, 5, 7>();
    }
  }
  constexpr ptrdiff_t stride = kTileOutputs * sizeof(int32_t);
  tile_store<0>(acc, stride);
  if constexpr (N > 1) tile_store<1>(acc + 16, stride);
  if constexpr (M > 1) tile_store<2>(acc + 16 * kTileOutputs, stride);
  if constexpr (M > 1 && N > 1) tile_store<3>(acc + 16 * kTileOutputs + 16, stride);
}

}  // namespace

// Scratch: decoded weights of the tile, then the sums of a block of rows, which are finished while the first cache has them.
void linear_codes_amx(const LinearCodes& op, int task, void* scratch) {
  const Tile tile = linear_tile(op, task);
  if (tile.row_end - tile.row_begin <= kFewRows) return fewbit::linear_codes_avx512(op, task, scratch);
  const int panels = ceil_div(tile.output_end - tile.output_begin, 16);
  const int steps = ceil_div(op.inputs, kTileInputs);
  int8_t* copy = static_cast<int8_t*>(scratch);
  int32_t* acc = reinterpret_cast<int32_t*>(copy + ptrdiff_t(steps) * kTileInputs * kTileOutputs);
  const TileFinisher finish(op, tile);

  TilePanel weight[kTileOutputs / 16];
  for (int p = 0; p < panels; ++p)
    weight[p] = tile_panel(op, tile.output_begin + 16 * p, copy + ptrdiff_t(p) * steps * kWeightTile);

  int configured = 0;  // rows of x
  for (int row = tile.row_begin; row < tile.row_end; row += kSumRows) {
    const int rows = tile.row_end - row < kSumRows ? tile.row_end - row : kSumRows;
    if (rows != configured) {
      tile_load_config(rows > 16 ? tile_config(16, rows - 16) : tile_config(rows, 16));
      configured = rows;
    }
    const uint8_t* x = op.x + row * op.x_stride;
    for (int p = 0; p < panels; p += 2) {
      const auto block =
          rows > 16 ? (panels - p > 1 ? multiply<2, 2> : multiply<2, 1>) : (panels - p > 1 ? multiply<1, 2> : multiply<1, 1>);
      block(x, op.x_stride, weight + p, steps, acc + 16 * p);
    }
    finish(row, rows, acc);
  }
  tile_release();
}

}  // namespace FEWBIT_AMX_NAMESPACE
