// From exponentials to codes of probabilities, four keys of a query in a word: consecutive levels, levels of two scales, and any
// others by a table.
#pragma once

#include "cuda/kernels/attention_softmax.cuh"

namespace fewbit::cuda {

// All bits of a byte as its highest one, which __byte_perm does not offer.
__device__ static __forceinline__ uint32_t spread_signs(uint32_t bytes) {
  uint32_t signs;
  asm("prmt.b32 %0, %1, 0, 0xBA98;" : "=r"(signs) : "r"(bytes));
  return signs;
}

template <class Softmax>
class AttentionProbabilities {
 public:
  using Rows = typename Softmax::Rows;

  // [group][half]: four keys of a query. Groups that are missing are zeros.
  uint32_t word[2 * Rows::kBlocks][2];

  // The sum of all codes of a query.
  __device__ unsigned sum(int half) const {
    unsigned sum = 0;
#pragma unroll
    for (int group = 0; group < Softmax::kGroupCount; ++group) sum = __dp4a(word[group][half], 0x01010101u, sum);
    return sum_of_four(sum);
  }

  __device__ AttentionProbabilities(const Rows& at, const Softmax& softmax) : at_(at), softmax_(softmax) {
    const AttentionCodesParams& p = at.p;
    // What an exponential is multiplied with, to be a level in units.
    float factor[2];
    for (int half = 0; half < 2; ++half) factor[half] = p.p_inverse_step[at.head] / softmax.one[half] * kUnit;
    if (!p.encode_p.table)
      consecutive(factor);
    else if (p.fine_levels)
      of_two_scales(factor);
    else
      by_table(factor);
  }

 private:
  // Levels are moved up to where saturation of bytes ends them.
  __device__ void consecutive(const float (&factor)[2]) {
    const int rise = 255 - at_.p.encode_p.high;
    const float up = in_units(rise);
    const uint32_t rises = rise * 0x01010101u;
    each_word([&](const float(&e)[4], int half) {
      int level[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) level[i] = multiply_add_units(e[i], factor[half], up);
      return pack_unsigned(level[0], level[1], level[2], level[3]) - rises;
    });
  }

  // Rounded to both scales. The fine level moved up to where bytes have their highest bit tells which is meant; the coarse one,
  // of which there are as many, up to where saturation ends it.
  __device__ void of_two_scales(const float (&factor)[2]) {
    const int count = at_.p.fine_levels, shift = at_.p.coarse_shift;
    const float fine_up = in_units(128 - count), coarse_up = in_units(256 - count), ratio = 1.0f / (1 << shift);
    const float coarse_factor[2] = {factor[0] * ratio, factor[1] * ratio};
    uint32_t fine_bits = (count - 1) * 0x01010101u, coarse_bits = fine_bits << shift;
    keep(fine_bits), keep(coarse_bits);
    each_word_by_table(factor, [&](const float(&e)[4], int half) {
      int fine[4], coarse[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        fine[i] = multiply_add_units(e[i], factor[half], fine_up);
        coarse[i] = multiply_add_units(e[i], coarse_factor[half], coarse_up);
      }
      const uint32_t low = pack_unsigned(fine[0], fine[1], fine[2], fine[3]);
      const uint32_t high = pack_unsigned(coarse[0], coarse[1], coarse[2], coarse[3]) << shift;
      return select_bits(spread_signs(low), high & coarse_bits, low & fine_bits);
    });
  }

  // Rounded down to half a level, the place in the table.
  __device__ void by_table(const float (&factor)[2]) {
    const float twice[2] = {factor[0] * 2.0f, factor[1] * 2.0f};
    uint32_t copies = at_.table_at() + at_.lane * 4;
    keep(copies);
    each_word_by_table(factor, [&](const float(&e)[4], int half) {
      uint32_t byte[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int place = multiply_add_units_down(e[i], twice[half], 0.0f);
        byte[i] = look_up(copies, min(place, kEncodeTable - 1));
      }
      return pack_bytes(byte);
    });
  }

  // As each_word(encode), but all levels for queries of fine rows. Most warps have none, and do not ask at every word.
  template <class Encode>
  __device__ void each_word_by_table(const float (&factor)[2], Encode encode) {
    const bool fine[2] = {at_.is_fine(at_.p.encode_p, 0), at_.is_fine(at_.p.encode_p, 1)};
    if (!__any_sync(0xFFFFFFFFu, fine[0] || fine[1])) {
      each_word(encode);
      return;
    }
    const int high = at_.p.encode_p.high;
    each_word([&](const float(&e)[4], int half) {
      if (!fine[half]) return encode(e, half);
      int level[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) level[i] = min(multiply_add_units(e[i], factor[half], 0.0f), high);
      return pack_unsigned(level[0], level[1], level[2], level[3]);
    });
  }
  // encode(exponentials of four keys, half)
  template <class Encode>
  __device__ void each_word(Encode encode) {
#pragma unroll
    for (int group = 0; group < 2 * Rows::kBlocks; ++group) {
      word[group][0] = word[group][1] = 0;
      if (group >= Softmax::kGroupCount || at_.missing(group)) continue;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float e[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) e[i] = softmax_.exponential[group][i / 2][2 * half + i % 2];
        word[group][half] = encode(e, half);
      }
    }
  }

  const Rows& at_;
  const Softmax& softmax_;
};

}  // namespace fewbit::cuda
