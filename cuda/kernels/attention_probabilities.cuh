// From exponentials to codes of probabilities, four keys of a query in a word: consecutive levels, levels of two scales, and any
// others by a table.
#pragma once

#include "cuda/kernels/attention_softmax.cuh"

namespace fewbit::cuda {

// a & b | c
__device__ static __forceinline__ uint32_t insert_bits(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
  return result;
}
__device__ static __forceinline__ uint32_t multiply_add_words(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t sum;
  asm("mad.lo.u32 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
  return sum;
}

// All bits of a byte as its highest one, which __byte_perm does not offer.
__device__ static __forceinline__ uint32_t spread_signs(uint32_t bytes) {
  uint32_t signs;
  asm("prmt.b32 %0, %1, 0, 0xBA98;" : "=r"(signs) : "r"(bytes));
  return signs;
}

__device__ static __forceinline__ uint32_t load_byte(uint32_t from) {
  uint32_t byte;
  asm volatile("ld.shared.u8 %0, [%1];" : "=r"(byte) : "r"(from) : "memory");
  return byte;
}

template <class Softmax>
class AttentionProbabilities {
 public:
  using Rows = typename Softmax::Rows;

  // [group][half]: four keys of a query. Groups that are missing are zeros.
  uint32_t word[2 * Rows::kBlocks][2];

  __device__ AttentionProbabilities(const Rows& at, const Softmax& softmax) : at_(at), softmax_(softmax) {
    const AttentionCodesParams& p = at.p;
    // What an exponential is multiplied with, to be a level in units.
    float factor[2];
    for (int half = 0; half < 2; ++half) factor[half] = p.p_inverse_step[at.head] / softmax.sum[half] * kUnit;
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
    each_word([&](const float(&e)[4], int half) {
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
    each_word([&](const float(&e)[4], int half) {
      uint32_t byte[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t place = min(multiply_add_units_down(e[i], twice[half], 0.0f), kEncodeTable - 1);
        byte[i] = load_byte(insert_bits(place, 3, multiply_add_words(place & 0x1FC, 32, copies)));
      }
      return __byte_perm(__byte_perm(byte[0], byte[1], 0x0040), __byte_perm(byte[2], byte[3], 0x0040), 0x5410);
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
