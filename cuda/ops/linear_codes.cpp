#include "cuda/ops/linear_codes.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cuda/ops/linear_tile.h"

namespace fewbit::cuda {
namespace {

// A tile and its kernels for weights stored in 4, 5 and 8 bits.
struct Variant {
  LinearTile tile;
  const char* kernels[3];
};

#define FEWBIT_NAME(bits, fragments, rows, columns, slices) "fewbit_linear_codes_w" #bits "_" #fragments "x" #rows "x" #columns "x" #slices
#define FEWBIT_VARIANT(bits, fragments, rows, columns, slices)                                             \
  {{fragments, rows, columns, slices},                                                                     \
   {FEWBIT_NAME(4, fragments, rows, columns, slices), FEWBIT_NAME(5, fragments, rows, columns, slices), \
    FEWBIT_NAME(8, fragments, rows, columns, slices)}},

constexpr Variant kVariants[] = {FEWBIT_LINEAR_TILES(FEWBIT_VARIANT, 0)};

// A block may read the slabs of outputs that are not there.
constexpr int kSpareSlabs = 8;

// A choice and what it costs.
struct Choice {
  const Variant* variant;
  int row_blocks, output_blocks, splits;
  double cost;
};

// Instructions of a quarter of the busiest multiprocessor, about: each of its four schedulers has every fourth warp, and hides
// latencies with what else it has. Products come at 1.4 instructions of fragments each, and about 30 go to what follows 16 x 8 sums.
double cost_of(const LinearCodesParams& p, const LinearTile& tile, int blocks, int splits, const Device& device) {
  const int steps = ceil_div(p.inputs, kStep);
  const double pieces = ceil_div(ceil_div(steps, tile.steps()), splits);
  const double products = 4.0 * tile.fragments * pieces * tile.steps() / tile.slices * 2;
  const double loads = pieces * tile.steps() / tile.slices * 2 * (tile.fragments + 2 + (p.weight_bits < 8 ? 12 : 0)) + 24 * pieces;
  const double finish = 4.0 * tile.fragments * (tile.slices > 1 ? 30.0 / tile.slices + 12 : 30) + 150 + (splits > 1 ? 300 : 0);
  const int on_one = ceil_div(blocks * splits, device.multiprocessors);
  const double warps = std::max(ceil_div(on_one * tile.warps(), 4), 2);
  // A product keeps the tensor core busy for as long as eight instructions take.
  return warps * std::max(products * 8, products + loads) + warps * finish + 8 * pieces * on_one;
}

bool fits(const LinearTile& tile, int storage, const Device& device) { return tile.shared_bytes(storage) <= device.block_shared; }

Choice choose(const LinearCodesParams& p, const Device& device) {
  const int storage = storage_bits(p.weight_bits);
  Choice best{nullptr, 0, 0, 1, 0};
  for (const Variant& variant : kVariants) {
    const LinearTile& tile = variant.tile;
    if (!fits(tile, storage, device)) continue;
    const int row_blocks = ceil_div(p.rows, tile.block_rows()), output_blocks = ceil_div(p.outputs, tile.block_outputs());
    const int pieces = ceil_div(p.inputs, kStep * tile.steps());
    // Blocks that share a tile add up through the workspace; only kernels with slices can.
    const int most = tile.slices > 1 ? std::min(pieces, 8) : 1;
    for (int splits = 1; splits <= most; ++splits) {
      const double cost = cost_of(p, tile, row_blocks * output_blocks, splits, device);
      if (!best.variant || cost < best.cost) best = {&variant, row_blocks, output_blocks, splits, cost};
    }
  }
  return best;
}

// Which output of a group is column `column` of fragment `tile`: see Columns in kernels/linear_finish.cuh.
int output_of(int tile, int column, bool y_is_codes) {
  const int thread = column / 2, pair = column % 2;
  return y_is_codes ? 8 * thread + 2 * tile + pair : tile / 2 * 16 + 4 * thread + tile % 2 * 2 + pair;
}

// Puts a weight at its place in a slab of zeros. half: of the 64 inputs; word: the first or second register of an operand.
void put(uint8_t* slab, int storage, int tile, int lane, int half, int word, int byte, int w) {
  if (storage == 8) {
    slab[tile * 512 + lane * 16 + half * 8 + word * 4 + byte] = static_cast<uint8_t>(w);
    return;
  }
  const int nibble = (storage == 5 ? w >> 1 : w) & 15, place = tile % 2 * 2 + half;
  slab[tile / 2 * 512 + lane * 16 + place * 4 + byte] |= static_cast<uint8_t>(nibble << (4 * word));
  if (storage == 5) slab[1024 + lane * 8 + tile / 2 * 4 + byte] |= static_cast<uint8_t>((w & 1) << (3 + 4 * word - place));
}

}  // namespace

size_t linear_codes_weight_bytes(int outputs, int inputs, int bits) {
  const size_t slabs = size_t(ceil_div(inputs, kStep)) * ceil_div(outputs, kGroup) + kSpareSlabs;
  return slabs * slab_bytes(storage_bits(bits));
}

void linear_codes_weight(const uint8_t* packed, int outputs, int inputs, int bits, bool y_is_codes, uint8_t* weight) {
  const int storage = storage_bits(bits), groups = ceil_div(outputs, kGroup);
  std::vector<int8_t> codes(size_t(outputs) * inputs);
  unpack_weight(packed, outputs, inputs, bits, codes.data());
  std::memset(weight, 0, linear_codes_weight_bytes(outputs, inputs, bits));
  for (int tile = 0; tile < 4 * groups; ++tile) {
    for (int column = 0; column < 8; ++column) {
      const int output = tile / 4 * kGroup + output_of(tile % 4, column, y_is_codes);
      if (output >= outputs) continue;
      const int8_t* row = &codes[size_t(output) * inputs];
      for (int i = 0; i < inputs; ++i) {
        uint8_t* slab = weight + (size_t(i / kStep) * groups + tile / 4) * slab_bytes(storage);
        put(slab, storage, tile % 4, column * 4 + i % 16 / 4, i % kStep / 32, i % 32 / 16, i % 4, row[i]);
      }
    }
  }
}

Workspace linear_codes_workspace(const LinearCodesParams& p, const Device& device) {
  const Choice choice = choose(p, device);
  if (choice.splits == 1) return {};
  const size_t tiles = size_t(choice.row_blocks) * choice.output_blocks;
  const LinearTile& tile = choice.variant->tile;
  return {tiles * choice.splits * tile.block_rows() * tile.block_outputs() * 4, tiles};
}

Launch linear_codes_launch(const LinearCodesParams& p, const Device& device) {
  const Choice choice = choose(p, device);
  const int storage = storage_bits(p.weight_bits);
  const LinearTile& tile = choice.variant->tile;
  return {choice.variant->kernels[storage == 8 ? 2 : storage - 4],
          {static_cast<unsigned>(choice.row_blocks), static_cast<unsigned>(choice.output_blocks), static_cast<unsigned>(choice.splits)},
          {static_cast<unsigned>(tile.threads()), 1, 1},
          static_cast<unsigned>(tile.shared_bytes(storage))};
}

}  // namespace fewbit::cuda
