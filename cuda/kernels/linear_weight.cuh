// Weights of 4, 5 and 8 bits from shared memory to operands of m16n8k32. linear_codes_weight writes what is read here.
#pragma once

#include "cuda/kernels/mma.cuh"
#include "cuda/ops/linear_tile.h"

namespace fewbit::cuda {

// One thread's part of a slab. In each byte stands the weight times 2^kShift: codes of fewer than 8 bits lie in the high bits of
// bytes, where they have their sign, and the sums are as many times as large.
template <int kBits>
struct WeightFragments;

template <>
struct WeightFragments<8> {
  static constexpr int kShift = 0;
  uint32_t words[4][4];

  // slab: where it begins, and 16 bytes for every lane before this one.
  __device__ void load(uint32_t slab, unsigned) {
    unroll<4>([&](auto tile) { load_shared<512 * tile>(slab, words[tile]); });
  }
  __device__ void operand(int tile, int half, uint32_t (&b)[2]) const {
    b[0] = words[tile][2 * half], b[1] = words[tile][2 * half + 1];
  }
};

template <>
struct WeightFragments<4> {
  static constexpr int kShift = 4;
  static constexpr uint32_t kHigh = 0xF0F0F0F0u;
  uint32_t nibbles[2][4];

  __device__ void load(uint32_t slab, unsigned) {
    unroll<2>([&](auto pair) { load_shared<512 * pair>(slab, nibbles[pair]); });
  }
  // Four weights of either register of an operand.
  __device__ uint32_t word(int tile, int half) const { return nibbles[tile / 2][tile % 2 * 2 + half]; }
  __device__ void operand(int tile, int half, uint32_t (&b)[2]) const {
    b[0] = word(tile, half) << 4 & kHigh, b[1] = word(tile, half) & kHigh;
  }
};

template <>
struct WeightFragments<5> {
  static constexpr int kShift = 3;
  static constexpr uint32_t kHigh = 0xF0F0F0F0u;
  uint32_t nibbles[2][4], ones[2];

  __device__ void load(uint32_t slab, unsigned lane) {
    unroll<2>([&](auto pair) { load_shared<512 * pair>(slab, nibbles[pair]); });
    load_shared<1024>(slab - 8 * lane, ones);
  }
  // The lowest bits of both words lie four apart, so that one mask clears what surrounds them.
  __device__ void operand(int tile, int half, uint32_t (&b)[2]) const {
    const int place = tile % 2 * 2 + half;
    const uint32_t word = nibbles[tile / 2][place], low = ones[tile / 2] << place & 0x88888888u;
    b[0] = select_bits(kHigh, word << 4, low), b[1] = select_bits(kHigh, word, low >> 4);
  }
};

}  // namespace fewbit::cuda
