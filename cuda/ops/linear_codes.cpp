#include "cuda/ops/linear_codes.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cuda/ops/linear_tile.h"

namespace fewbit::cuda {
namespace {

// A tile and its kernels: for weights stored in 4, 5 and 8 bits, and for products of nibbles.
struct Variant {
  LinearTile tile;
  const char* kernels[4];
};

#define FEWBIT_NAME(kind, fragments, rows, columns, slices) \
  "fewbit_linear_codes_" kind "_" #fragments "x" #rows "x" #columns "x" #slices
#define FEWBIT_VARIANT(bits, fragments, rows, columns, slices)                                                \
  {{fragments, rows, columns, slices},                                                                        \
   {FEWBIT_NAME("w4", fragments, rows, columns, slices), FEWBIT_NAME("w5", fragments, rows, columns, slices), \
    FEWBIT_NAME("w8", fragments, rows, columns, slices), FEWBIT_NAME("n4", fragments, rows, columns, slices)}},

constexpr Variant kVariants[] = {FEWBIT_LINEAR_TILES(FEWBIT_VARIANT, 0)};

// A block may read the slabs of outputs that are not there.
constexpr int kSpareSlabs = 8;

// A choice and what it costs.
struct Choice {
  const Variant* variant;
  int row_blocks, output_blocks, splits;
  double cost;
};

// Cycles of the busiest multiprocessor, about, which is taken to run its blocks one after another.
double cost_of(const LinearCodesParams& p, const LinearTile& tile, int blocks, int splits, const Device& device) {
  // What a scheduler, of which there are four, has of a block.
  const double warps = ceil_div(tile.warps(), 4);
  const int pieces = ceil_div(ceil_div(p.inputs, kStep * tile.steps()), splits);
  // A tensor core is busy with a product for 8 cycles. A piece takes at least as long as memory to bring the next.
  const double products = 4.0 * tile.fragments * 2 * tile.steps() / tile.slices;
  const double piece = std::max(700.0, warps * products * 8);
  // To start, to wait for the first piece, and to write 16 x 8 outputs a product; with the sums of other blocks.
  const double ends = 2500 + warps * tile.fragments * 128 + (splits > 1 ? 2000 : 0);
  return ceil_div(blocks * splits, device.multiprocessors) * (pieces * piece + ends);
}

// Tensor cores of compute capability 8 multiply nibbles twice as fast as bytes; later ones have none for them.
bool multiplies_nibbles(const LinearCodesParams& p, const Device& device) {
  return device.major == 8 && storage_bits(p.weight_bits) == 4 && p.x_levels > 0 && p.x_levels <= 16;
}

int shared_bytes(const LinearCodesParams& p, const LinearTile& tile) {
  return tile.shared_bytes(storage_bits(p.weight_bits), p.part_outputs && p.encode.table ? p.outputs / p.part_outputs : 1);
}

Choice choose(const LinearCodesParams& p, const Device& device) {
  Choice best{nullptr, 0, 0, 1, 0};
  for (const Variant& variant : kVariants) {
    const LinearTile& tile = variant.tile;
    if (shared_bytes(p, tile) > device.block_shared) continue;
    const int row_blocks = ceil_div(p.rows, tile.block_rows()), output_blocks = ceil_div(p.outputs, tile.block_outputs());
    const int pieces = ceil_div(p.inputs, kStep * tile.steps());
    // Blocks that share a tile add up through the workspace; only kernels with slices can.
    const int most = tile.slices > 1 ? std::min(pieces, 8) : 1;
    const int last = ceil_div(p.inputs, kStep) - (pieces - 1) * tile.steps();
    for (int splits = 1; splits <= most; ++splits) {
      // Every slice wants a step in the first piece of a block.
      if (pieces / splits == 1 && last < tile.slices) break;
      const double cost = cost_of(p, tile, row_blocks * output_blocks, splits, device);
      if (!best.variant || cost < best.cost) best = {&variant, row_blocks, output_blocks, splits, cost};
    }
  }
  return best;
}

LinearFinish finish_of(const LinearCodesParams& p) {
  if (p.image_rows != p.rows || p.rounds_pre_activation || p.gain || p.residual_codes.data || p.outputs % kGroup)
    return LinearFinish::any;
  if (p.y_codes.data) {
    if (p.residual.data || !aligned(p.y_codes, 8)) return LinearFinish::any;
    return p.encode.table ? LinearFinish::table : LinearFinish::codes;
  }
  const bool simple = p.activation == Activation::none && aligned(p.y_float, 16) && aligned(p.residual, 16);
  return simple ? LinearFinish::floats : LinearFinish::any;
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

void linear_codes_weight(const std::vector<LinearWeight>& layers, int outputs, int inputs, bool y_is_codes, uint8_t* weight) {
  int bits = 0;
  for (const LinearWeight& layer : layers) bits = std::max(bits, layer.bits);
  const int storage = storage_bits(bits), own = ceil_div(outputs, kGroup), groups = own * int(layers.size());
  std::memset(weight, 0, linear_codes_weight_bytes(outputs * int(layers.size()), inputs, bits));
  std::vector<int8_t> codes(size_t(outputs) * inputs);
  for (size_t n = 0; n < layers.size(); ++n) {
    unpack_weight(layers[n].packed, outputs, inputs, layers[n].bits, codes.data());
    for (int tile = 0; tile < 4 * own; ++tile) {
      for (int column = 0; column < 8; ++column) {
        const int output = tile / 4 * kGroup + output_of(tile % 4, column, y_is_codes);
        if (output >= outputs) continue;
        const int8_t* row = &codes[size_t(output) * inputs];
        for (int i = 0; i < inputs; ++i) {
          uint8_t* slab = weight + (size_t(i / kStep) * groups + n * own + tile / 4) * slab_bytes(storage);
          put(slab, storage, tile % 4, column * 4 + i % 16 / 4, i % kStep / 32, i % 32 / 16, i % 4, row[i]);
        }
      }
    }
  }
}

bool linear_codes_joins(const LinearCodesParams& p) {
  const LinearFinish finish = finish_of(p);
  return finish == LinearFinish::codes || finish == LinearFinish::table;
}

Workspace linear_codes_workspace(const LinearCodesParams& p, const Device& device) {
  const Choice choice = choose(p, device);
  if (choice.splits == 1) return {};
  const size_t tiles = size_t(choice.row_blocks) * choice.output_blocks;
  const LinearTile& tile = choice.variant->tile;
  return {tiles * choice.splits * tile.block_rows() * tile.block_outputs() * 4, tiles};
}

Launch linear_codes_launch(LinearCodesParams& p, const Device& device) {
  const Choice choice = choose(p, device);
  const int storage = storage_bits(p.weight_bits);
  p.finish = finish_of(p);
  p.x_stride = static_cast<unsigned>(p.x.stride);
  p.weight_step = ceil_div(p.outputs, kGroup) * slab_bytes(storage);
  const LinearTile& tile = choice.variant->tile;
  const int kernel = multiplies_nibbles(p, device) ? 3 : storage == 8 ? 2 : storage - 4;
  return {choice.variant->kernels[kernel],
          {static_cast<unsigned>(choice.row_blocks), static_cast<unsigned>(choice.output_blocks),
           static_cast<unsigned>(choice.splits)},
          {32, static_cast<unsigned>(tile.columns), static_cast<unsigned>(tile.rows * tile.slices)},
          static_cast<unsigned>(shared_bytes(p, tile))};
}

}  // namespace fewbit::cuda
