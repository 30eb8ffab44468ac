// From the scores of a warp's queries to exponentials. They are 2^-kRaised times as large as they are elsewhere, so that times a
// factor they are codes in units (integer_bits.cuh).
#pragma once

#include "cuda/kernels/attention_rows.cuh"
#include "cuda/kernels/integer_bits.cuh"

namespace fewbit::cuda {

constexpr float kRaised = 64.0f;
constexpr int kMagicBits = 0x4B400000;      // of kRoundMagic
constexpr int kMinusInfinity = 0xFF800000;  // less than all scores as an integer, too

// a * b + c, where a is given as its bits.
__device__ static __forceinline__ float multiply_add(int a, float b, float c) {
  float sum;
  asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(sum) : "r"(a), "f"(b), "f"(c));
  return sum;
}
__device__ static __forceinline__ float subtract(int a, float b) {
  float difference;
  asm("sub.rn.f32 %0, %1, %2;" : "=f"(difference) : "r"(a), "f"(b));
  return difference;
}

__device__ static __forceinline__ float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Over the four threads that have the scores of a query.
template <class T>
__device__ static __forceinline__ T largest_of_four(T value) {
  value = max(value, __shfl_xor_sync(0xFFFFFFFFu, value, 1));
  return max(value, __shfl_xor_sync(0xFFFFFFFFu, value, 2));
}
template <class T>
__device__ static __forceinline__ T sum_of_four(T value) {
  value = value + __shfl_xor_sync(0xFFFFFFFFu, value, 1);
  return value + __shfl_xor_sync(0xFFFFFFFFu, value, 2);
}

template <int kWidth, int kGroups, bool kLogits>
class AttentionSoftmax {
 public:
  using Rows = AttentionRows<kWidth, kGroups, kLogits>;
  static constexpr int kGroupCount = kGroups;

  // Bits of kRoundMagic + score: two queries and four keys of every group, fragment f has keys 4 t + 2 f and the next.
  int score[kGroups][2][4];
  float exponential[kGroups][2][4];
  float one[2];  // what is a probability of 1: the sum of the exponentials of a query, or the largest of them

  // That all exponents are off by the rounding of `shift` makes no difference, since what they are divided by is, too.
  __device__ void run(const Rows& at) {
    int most[2] = {kMinusInfinity, kMinusInfinity};
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if (at.missing(group)) break;
      if (group == kGroups - 1)  // these kernels are for so many tokens that other groups are whole
#pragma unroll
        for (int i = 0; i < 8; ++i)
          if (at.key(group, i / 4) + i % 2 >= at.p.tokens) score[group][i / 4][i % 4] = kMinusInfinity;
#pragma unroll
      for (int i = 0; i < 8; ++i) most[i / 2 % 2] = max(most[i / 2 % 2], score[group][i / 4][i % 4]);
    }
    const float scale = at.p.logit_scale[at.head] * kLog2E;
    float shift[2], largest[2];
    for (int half = 0; half < 2; ++half) {
      most[half] = largest_of_four(most[half]);
      shift[half] = -(__int_as_float(most[half]) * scale) - kRaised;
      largest[half] = multiply_add(most[half], scale, shift[half]);
    }
    add_exponentials(at, largest, [&](int group, int f, int i) { return multiply_add(score[group][f][i], scale, shift[i / 2]); });
  }

  // The same of logits that are biased, parted or coded.
  __device__ void run_on_logits(const Rows& at, const uint32_t (&q)[2][4]) {
    const AttentionCodesParams& p = at.p;
    int sums[4];
    multiply_s8_u8(sums, q[0], 0x01010101u, 0x01010101u, 0, 0, 0, 0);
    if constexpr (kWidth == 64) multiply_s8_u8(sums, q[1], 0x01010101u, 0x01010101u, sums[0], sums[1], sums[2], sums[3]);
    const float scale = p.logit_scale[at.head];
    float zero[2];
    for (int half = 0; half < 2; ++half) zero[half] = kRoundMagic + float(128 * sums[2 * half]);
    uint32_t coded = p.logit_inverse_step > 0.0f;
    keep(coded);
    float most[2] = {-INFINITY, -INFINITY};
    constexpr int kWords = attention_words(kGroups);
    const unsigned tiles = unsigned(p.tokens + 15) / 16;
    const uint32_t* words = p.foreign + ((at.window * tiles + at.tile) * kWords * 32 + at.lane);
    const float* biases = p.bias ? p.bias + ((at.head * tiles + at.tile) * kGroups * 256 + at.lane * 4) : nullptr;
    uint32_t foreign[kWords];
#pragma unroll
    for (int i = 0; i < kWords; ++i) foreign[i] = words[32 * i];
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if (at.missing(group)) break;
      float(&x)[2][4] = exponential[group];
      float bias[2][4] = {};
      if (biases)
        for (int half = 0; half < 2; ++half) load<4>(biases + group * 256 + half * 128, bias[half]);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int f = i / 4, half = i / 2 % 2;
        x[f][i % 4] = __fmaf_rn(subtract(score[group][f][i % 4], zero[half]), scale, bias[half][2 * f + i % 2]);
      }
      if (coded)
#pragma unroll
        for (int i = 0; i < 8; ++i) x[i / 4][i % 4] = rintf(clamp(x[i / 4][i % 4] * p.logit_inverse_step, -128.0f, 127.0f));
      const uint32_t bits = foreign[group / 4] & 255u << (8 * (group % 4));
      if (bits)
#pragma unroll
        for (int i = 0; i < 8; ++i)
          if (bits & 1u << (8 * (group % 4) + i)) x[i / 4][i % 4] = -INFINITY;
#pragma unroll
      for (int i = 0; i < 8; ++i) most[i / 2 % 2] = fmaxf(most[i / 2 % 2], x[i / 4][i % 4]);
    }
    const float unit = (coded ? p.logit_step : 1.0f) * kLog2E;
    float shift[2], largest[2];
    for (int half = 0; half < 2; ++half) {
      most[half] = largest_of_four(most[half]);
      shift[half] = -(most[half] * unit) - kRaised;
      largest[half] = __fmaf_rn(most[half], unit, shift[half]);
    }
    add_exponentials(at, largest,
                     [&](int group, int f, int i) { return __fmaf_rn(exponential[group][f][i], unit, shift[i / 2]); });
  }

 private:
  // largest: the logarithm to the base 2 of the largest exponential of a query; logarithm(group, f, i): of one.
  template <class Logarithm>
  __device__ void add_exponentials(const Rows& at, const float (&largest)[2], Logarithm logarithm) {
    float part[2] = {0.0f, 0.0f};
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if (at.missing(group)) break;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float e = exp2_approximate(logarithm(group, i / 4, i % 4));
        part[i / 2 % 2] = part[i / 2 % 2] + e;
        exponential[group][i / 4][i % 4] = e;
      }
    }
    for (int half = 0; half < 2; ++half) one[half] = at.p.relative ? exp2_approximate(largest[half]) : sum_of_four(part[half]);
  }
};

}  // namespace fewbit::cuda
