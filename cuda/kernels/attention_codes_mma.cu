// Attention on codes on tensor cores: queries times keys, softmax, and its code times values, of which nothing but the result
// leaves the registers.
//
// A warp has 16 queries and the scores of all keys. The order of keys within 16 is such that what a thread holds of the scores of
// a query is four keys that lie side by side: those are the operand of the second product, after rounding, where they are. The
// order of channels is such that 16 bytes of a query, of a key, and of the result belong to one thread.
#include "cuda/kernels/attention_probabilities.cuh"

namespace fewbit::cuda {
namespace {

constexpr int kMiddle = 1 << 23;  // sums of products with values begin here: |sum| <= 256 * 255 * 128 < 2^23

template <int kWidth, int kGroups, bool kLogits>
class AttentionBlock {
 public:
  __device__ AttentionBlock(const AttentionCodesParams& params, uint8_t* shared) : p(params), at(params, shared) {}

  __device__ void run() {
    at.copy_rows();
    uint32_t q[2][4];
    load_query(q);
    wait_for_copies();
    __syncthreads();
    at.turn_values();
    if (p.encode_p.table && !p.fine_levels) at.copy_table();
    __syncthreads();
    if (16 * at.tile >= unsigned(p.tokens)) return;
    Softmax softmax;
    scores(q, softmax);
    if constexpr (kLogits)
      softmax.run_on_logits(at, q);
    else
      softmax.run(at);
    const AttentionProbabilities<Softmax> probabilities(at, softmax);
    const float output_scale = p.output_scale[at.head];
    float scale[2] = {output_scale, output_scale};
    if (p.relative)
      for (int half = 0; half < 2; ++half) scale[half] = relative_scale(output_scale, int(probabilities.sum(half)));
    int y[kWidth / 8][4];
    values(probabilities.word, y);
    write(y, scale);
  }

 private:
  using Softmax = AttentionSoftmax<kWidth, kGroups, kLogits>;
  using Rows = typename Softmax::Rows;

  // Operands of the first product, as signed bytes: a thread has kWidth / 4 channels of two queries that lie side by side.
  __device__ void load_query(uint32_t (&q)[2][4]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint8_t* from = at.quarter(p.q, min(at.query(half), p.tokens - 1));
      if constexpr (kWidth == 64) {
        const uint4 four = *reinterpret_cast<const uint4*>(from);
        q[0][half] = four.x, q[0][half + 2] = four.y, q[1][half] = four.z, q[1][half + 2] = four.w;
      } else {
        const uint2 two = *reinterpret_cast<const uint2*>(from);
        q[0][half] = two.x, q[0][half + 2] = two.y;
      }
    }
#pragma unroll
    for (int i = 0; i < kWidth / 8; ++i) q[i / 4][i % 4] ^= 0x80808080u;
  }

  // Keys are unsigned, which adds 128 times the sum of the query to all scores of it. Sums begin with the bits of kRoundMagic, so
  // that they are the bits of kRoundMagic + score as they stand: |score| <= 128 * 255 * 64 < 2^22.
  __device__ void scores(const uint32_t (&q)[2][4], Softmax& softmax) const {
    const unsigned g = at.lane / 4, row = g / 2 * 4 + g % 2, channel = at.lane % 4 * (kWidth / 4);
    const uint32_t even = at.keys_at() + at.key_place(row) + channel, odd = at.keys_at() + at.key_place(row + 2) + channel;
    unroll<kGroups>([&](auto group) {
      if (at.missing(group)) return;
      unroll<2>([&](auto f) {
        int(&sum)[4] = softmax.score[group][f];
        uint32_t k[kWidth / 16];
        load_shared<group * 16 * kWidth>(f ? odd : even, k);
        multiply_s8_u8(sum, q[0], k[0], k[1], kMagicBits, kMagicBits, kMagicBits, kMagicBits);
        if constexpr (kWidth == 64) multiply_s8_u8(sum, q[1], k[2], k[3], sum[0], sum[1], sum[2], sum[3]);
      });
    });
  }

  __device__ void values(const uint32_t (&probabilities)[2 * Rows::kBlocks][2], int (&y)[kWidth / 8][4]) const {
    const uint32_t from = at.values_at() + at.lane * 16;
    unroll<Rows::kBlocks>([&](auto block) {
      if (block > 0 && at.missing(2 * block)) return;
      const uint32_t a[4] = {probabilities[2 * block][0], probabilities[2 * block][1], probabilities[2 * block + 1][0],
                             probabilities[2 * block + 1][1]};
      unroll<kWidth / 16>([&](auto pair) {
        uint32_t v[4];
        load_shared<(block * (kWidth / 16) + pair) * Rows::kPair>(from, v);
#pragma unroll
        for (int f = 0; f < 2; ++f) {
          int(&sum)[4] = y[2 * pair + f];
          if (block == 0)
            multiply_u8_s8(sum, a, v[2 * f], v[2 * f + 1], kMiddle, kMiddle, kMiddle, kMiddle);
          else
            multiply_u8_s8(sum, a, v[2 * f], v[2 * f + 1], sum[0], sum[1], sum[2], sum[3]);
        }
      });
    });
  }

  // scale: of the sums of each query, to what is encoded.
  __device__ void write(const int (&y)[kWidth / 8][4], const float (&scale)[2]) const {
    const float factor[2] = {scale[0] * p.encode.inverse_step, scale[1] * p.encode.inverse_step};
    const bool fine[2] = {at.is_fine(p.encode, 0), at.is_fine(p.encode, 1)};
    if (p.encode.low == -128 && p.encode.high == 127 && !p.encode.table)
      // Of all codes of eight bits, saturation is the clamp.
      write_words(y, [&](const int(&sum)[4], int half) {
        int code[4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
          code[i] = multiply_add_units(subtract_units(sum[i], in_units(kMiddle)), factor[half], in_units(128));
        return pack_unsigned(code[0], code[1], code[2], code[3]);
      });
    else
      write_words(y, [&](const int(&sum)[4], int half) {
        Encoder encode = p.encode;
        if (fine[half]) encode.table = nullptr;
        uint32_t word = 0;
        for (int i = 0; i < 4; ++i) word |= uint32_t(encode_scaled(encode, float(sum[i] - kMiddle) * factor[half])) << (8 * i);
        return word;
      });
  }
  // A thread has kWidth / 4 channels of two queries. encode: of four sums of a query.
  template <class Encode>
  __device__ void write_words(const int (&y)[kWidth / 8][4], Encode encode) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (at.query(half) >= p.tokens) break;
      uint32_t words[kWidth / 16];
#pragma unroll
      for (int w = 0; w < kWidth / 16; ++w) {
        const int sums[4] = {y[2 * w][2 * half], y[2 * w][2 * half + 1], y[2 * w + 1][2 * half], y[2 * w + 1][2 * half + 1]};
        words[w] = encode(sums, half);
      }
      uint8_t* to = at.quarter(p.y, at.query(half));
      if constexpr (kWidth == 64)
        *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
      else
        *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
    }
  }

  const AttentionCodesParams& p;
  const Rows at;
};

}  // namespace
}  // namespace fewbit::cuda

// Registers such that two blocks of seven warps fit a multiprocessor, where the compiler gets along with them, or one of eight.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define FEWBIT_ATTENTION_REGISTERS(groups) 168
#else
#define FEWBIT_ATTENTION_REGISTERS(groups) (groups == 13 ? 144 : 168)
#endif

// Defines the kernel fewbit_attention_codes_<width>x<groups>_<logits>.
#define FEWBIT_ATTENTION_CODES(width, groups, logits)                                                    \
  extern "C" __global__ void __maxnreg__(FEWBIT_ATTENTION_REGISTERS(groups))                             \
      fewbit_attention_codes_##width##x##groups##_##logits(const fewbit::cuda::AttentionCodesParams p) { \
    extern __shared__ __align__(128) uint8_t shared[];                                                   \
    fewbit::cuda::AttentionBlock<width, groups, logits>(p, shared).run();                                \
  }
FEWBIT_ATTENTION_TILES(FEWBIT_ATTENTION_CODES)
