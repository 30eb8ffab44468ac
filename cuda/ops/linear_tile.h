// How the product of a linear layer is cut: shared by the kernels and by the host, which chooses.
#pragma once

#include "cuda/ops/device.h"

namespace fewbit::cuda {

// Weights lie in slabs of 32 outputs x 64 inputs, in the order of the fragments of m16n8k32: see linear_codes_weight.
constexpr int kGroup = 32, kStep = 64;

// Bits of a stored weight: codes of 2 and 3 bits are stored as 4, of 6 and 7 as 8.
constexpr int storage_bits(int bits) { return bits <= 4 ? 4 : bits == 5 ? 5 : 8; }

constexpr int slab_bytes(int storage) { return kGroup * kStep / 8 * storage; }

// Bytes of a warp whose results go through shared memory: eight rows of sums, of residuals, and of codes.
constexpr int kFinishStage = 8 * kGroup * (4 + 4 + 1);

// A warp has 16 * fragments rows x 32 outputs. A block has rows x columns x slices warps; the warps of different slices have
// the same outputs and different inputs, and add up their sums at the end.
struct LinearTile {
  int fragments, rows, columns, slices;

  constexpr int warps() const { return rows * columns * slices; }
  constexpr int threads() const { return 32 * warps(); }
  constexpr int block_rows() const { return 16 * fragments * rows; }
  constexpr int block_outputs() const { return kGroup * columns; }
  // Inputs are read in pieces of this many steps, two of which are in shared memory.
  constexpr int steps() const { return slices > 2 ? slices : 2; }
  constexpr int x_bytes() const { return block_rows() * steps() * kStep; }
  constexpr int piece_bytes(int storage) const { return x_bytes() + steps() * columns * slab_bytes(storage); }
  // Behind the product: sums of all slices, or what a warp has of eight rows and the tables of encoders.
  constexpr int finish_bytes(int tables) const {
    const int sums = slices > 1 ? slices * block_rows() * block_outputs() * 4 : 0;
    const int general = warps() * kFinishStage + tables * 16384;
    return sums > general ? sums : general;
  }
  constexpr int shared_bytes(int storage, int tables) const {
    const int pieces = 2 * piece_bytes(storage);
    return pieces > finish_bytes(tables) ? pieces : finish_bytes(tables);
  }
};

// The tiles there are kernels for: X(bits, fragments, rows, columns, slices).
#define FEWBIT_LINEAR_TILES(X, bits) \
  X(bits, 6, 1, 4, 1)                \
  X(bits, 3, 1, 4, 1)                \
  X(bits, 2, 1, 1, 4)                \
  X(bits, 1, 1, 2, 2)

}  // namespace fewbit::cuda
