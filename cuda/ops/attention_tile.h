// How attention on tensor cores is cut: shared by the kernels and by the host, which chooses.
#pragma once

#include "cuda/ops/device.h"

namespace fewbit::cuda {

// A warp has 16 queries of a head, and all their scores in registers; the warps of a block share keys and values.
struct AttentionTile {
  int width;    // of a head: 32 or 64
  int groups;   // of 16 keys, at most
  bool logits;  // whether logits are biased, parted or coded

  constexpr int keys() const { return 16 * groups; }
  // Values are multiplied 32 keys at a time.
  constexpr int blocks() const { return (groups + 1) / 2; }
  constexpr int row_bytes() const { return 32 * blocks() * width; }
  // A pair of fragments of values, for 32 keys and 16 channels; 64 more bytes set banks of neighbours apart.
  static constexpr int kPair = 512 + 64;
  constexpr int value_bytes() const { return blocks() * (width / 16) * kPair; }
  // Keys, values as they come, values as they are multiplied, the table of the code of probabilities.
  constexpr int shared_bytes() const { return 2 * row_bytes() + value_bytes() + kTable; }
  static constexpr int kTable = 16384;
};

// The tiles there are kernels for: X(width, groups, logits).
#define FEWBIT_ATTENTION_TILES(X) \
  X(32, 4, true)                  \
  X(64, 4, true)                  \
  X(64, 13, false)                \
  X(64, 16, true)

constexpr int kAttentionWarps = 8;  // of a block, at most

// Words of bits of a thread that say which of its keys are not attended: eight for each group.
constexpr int attention_words(int groups) { return (groups + 3) / 4; }

}  // namespace fewbit::cuda
