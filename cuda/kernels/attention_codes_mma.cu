// Attention on codes on tensor cores: queries times keys, softmax, and its code times values, of which nothing but the result
// leaves the registers.
//
// A warp has 16 queries and the scores of all keys. The order of keys within 16 is such that what a thread holds of the scores of
// a query is four keys that lie side by side: those are the operand of the second product, after rounding, where they are. The
// order of channels is such that 16 bytes of a query, of a key, and of the result belong to one thread.
#include "cuda/kernels/linear_finish.cuh"
#include "cuda/ops/attention_codes.h"
#include "cuda/ops/attention_tile.h"

namespace fewbit::cuda {
namespace {

constexpr int kMagicBits = 0x4B400000;      // of kRoundMagic
constexpr int kMinusInfinity = 0xFF800000;  // less than all scores as an integer, too

// a * b + c, where a float is asked for or given as its bits: in PTX a change of type is an instruction.
__device__ __forceinline__ float multiply_add(int a, float b, float c) {
  float sum;
  asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(sum) : "r"(a), "f"(b), "f"(c));
  return sum;
}
__device__ __forceinline__ float subtract(int a, float b) {
  float difference;
  asm("sub.rn.f32 %0, %1, %2;" : "=f"(difference) : "r"(a), "f"(b));
  return difference;
}
__device__ __forceinline__ uint32_t multiply_add_bits(float a, float b, float c) {
  uint32_t sum;
  asm("fma.rn.f32 %0, %1, %2, %3;" : "=r"(sum) : "f"(a), "f"(b), "f"(c));
  return sum;
}
__device__ __forceinline__ uint32_t multiply_add_down_bits(float a, float b, float c) {
  uint32_t sum;
  asm("fma.rm.f32 %0, %1, %2, %3;" : "=r"(sum) : "f"(a), "f"(b), "f"(c));
  return sum;
}
// a * b, at least 0 and at most 1.
__device__ __forceinline__ float multiply_saturated(float a, float b) {
  float product;
  asm("mul.rn.sat.f32 %0, %1, %2;" : "=f"(product) : "f"(a), "f"(b));
  return product;
}
// a & b | c
__device__ __forceinline__ uint32_t insert_bits(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
  return result;
}

__device__ __forceinline__ float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ void load_transposed(uint32_t row, uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row)
               : "memory");
}

template <int offset>
__device__ __forceinline__ void copy_word_async(uint32_t to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0 + %2], [%1], 4;" ::"r"(to), "l"(from), "n"(offset) : "memory");
}

template <int offset>
__device__ __forceinline__ void store_pair(uint32_t to, uint32_t a, uint32_t b) {
  asm volatile("st.shared.v2.u32 [%0 + %3], {%1, %2};" ::"r"(to), "r"(a), "r"(b), "n"(offset) : "memory");
}

__device__ __forceinline__ void multiply_s8_u8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, int c0, int c1,
                                               int c2, int c3) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(c0), "r"(c1), "r"(c2), "r"(c3));
}

__device__ __forceinline__ uint32_t load_byte(uint32_t from) {
  uint32_t byte;
  asm volatile("ld.shared.u8 %0, [%1];" : "=r"(byte) : "r"(from) : "memory");
  return byte;
}

template <class T>
__device__ __forceinline__ T largest_of_four(T value) {
  value = max(value, __shfl_xor_sync(0xFFFFFFFFu, value, 1));
  return max(value, __shfl_xor_sync(0xFFFFFFFFu, value, 2));
}
__device__ __forceinline__ float sum_of_four(float value) {
  value = value + __shfl_xor_sync(0xFFFFFFFFu, value, 1);
  return value + __shfl_xor_sync(0xFFFFFFFFu, value, 2);
}

template <int kWidth, int kGroups, bool kLogits>
class AttentionBlock {
 public:
  __device__ AttentionBlock(const AttentionCodesParams& params, uint8_t* shared)
      : p(params), memory(shared), base(shared_address(shared)), lane(threadIdx.x), warp(threadIdx.y) {
    // Parts of a head's queries, heads, windows, images. Windows are an affair of kernels with logits.
    unsigned block = blockIdx.x;
    const unsigned part = block % p.parts;
    block /= p.parts;
    head = block % p.heads, block /= p.heads;
    if (kLogits) window = block % p.windows.count, block /= p.windows.count;
    image = block;
    rows = kLogits && p.windows.rows ? p.windows.rows + int64_t(window) * p.tokens : nullptr;
    tile = part * blockDim.y + warp;
  }

  __device__ void run() {
    copy_rows();
    if constexpr (kLogits) copy_logits();
    uint32_t q[2][4];
    load_query(q);
    wait_for_copies();
    __syncthreads();
    turn_values();
    __syncthreads();
    if (p.encode_p.table) {
      share_copies(p.encode_p.table);
      __syncthreads();
    }
    if (16 * tile >= unsigned(p.tokens)) return;
    scores(q);
    float factor[2];
    if constexpr (kLogits)
      exponentials_of_logits(q, factor);
    else
      exponentials(factor);
    uint32_t probabilities[2 * kBlocks][2];
    encode_probabilities(factor, probabilities);
    int y[kWidth / 8][4];
    values(probabilities, y);
    write(y);
  }

 private:
  static constexpr AttentionTile kTile{kWidth, kGroups, kLogits};
  static constexpr int kBlocks = kTile.blocks(), kRowBytes = kTile.row_bytes(), kPair = AttentionTile::kPair;
  static constexpr int kValueBytes = kTile.value_bytes(), kBiasBytes = kTile.bias_bytes();
  static constexpr int kChunks = kWidth / 16;
  static constexpr int kKeys = kTile.keys();

  __device__ uint32_t keys_at() const { return base; }
  __device__ uint32_t raw_at() const { return base + kRowBytes; }
  __device__ uint32_t values_at() const { return base + 2 * kRowBytes; }
  __device__ float* bias_memory() const { return reinterpret_cast<float*>(memory + 2 * kRowBytes + kValueBytes); }
  __device__ uint8_t* region_memory() const { return memory + 2 * kRowBytes + kValueBytes + kBiasBytes; }
  __device__ uint8_t* table_memory() const { return memory + 2 * kRowBytes + kValueBytes + kBiasBytes + (kLogits ? kKeys : 0); }

  __device__ unsigned thread() const { return warp * 32 + lane; }
  // Whether there are no keys in a group. Kernels of 13 groups are chosen for that many.
  __device__ bool missing(int group) const { return kGroups != 13 && 16 * group >= p.tokens; }
  __device__ int row_of_token(int token) const { return rows ? rows[token] : token; }

  // Where a key's 16 bytes lie: rows that are read together are in different banks. All is the same 16 rows later.
  __device__ static uint32_t key_place(unsigned row) { return (kWidth == 64 ? row : row ^ (row >> 1 & 2)) * kWidth; }
  __device__ static uint32_t value_place(unsigned row, unsigned chunk) {
    const unsigned unit = row * kChunks + chunk;
    return (kWidth == 64 ? unit ^ (row >> 2 & 3) : unit ^ ((row >> 2 & 1) | (row >> 1 & 4))) * 16;
  }

  // Keys and values, 16 rows a warp at a time. Rows behind the last are copies of it: nothing comes of them.
  __device__ void copy_rows() const {
    constexpr int kRowsAtOnce = 32 / kChunks, kTimes = 16 / kRowsAtOnce;
    const unsigned chunk = lane % kChunks;
    const uint8_t* k = p.k.data + image * p.k.image_stride + head * kWidth + chunk * 16;
    const uint8_t* v = p.v.data + image * p.v.image_stride + head * kWidth + chunk * 16;
    const uint32_t k_stride = static_cast<uint32_t>(p.k.stride), v_stride = static_cast<uint32_t>(p.v.stride);
    uint32_t k_place[kTimes], v_place[kTimes];
#pragma unroll
    for (int i = 0; i < kTimes; ++i) {
      const unsigned row = lane / kChunks + i * kRowsAtOnce;
      k_place[i] = keys_at() + key_place(row) + chunk * 16, v_place[i] = raw_at() + value_place(row, chunk);
      keep(k_place[i]), keep(v_place[i]);
    }
    for (int first = 16 * warp; first < copied_rows(); first += 16 * blockDim.y) {
#pragma unroll
      for (int i = 0; i < kTimes; ++i) {
        const int row = row_of_token(min(first + int(lane / kChunks) + i * kRowsAtOnce, p.tokens - 1));
        copy_async<0>(k_place[i] + first * kWidth, advance(k, row, k_stride));
        copy_async<0>(v_place[i] + first * kWidth, advance(v, row, v_stride));
      }
    }
  }
  // Values are turned 32 keys at a time.
  __device__ int copied_rows() const { return kGroups == 13 ? 224 : (p.tokens + 31) / 32 * 32; }

  __device__ void copy_logits() const {
    constexpr int kBiasStride = kTile.bias_stride();
    const int step = blockDim.y * 32;
    if (kBiasBytes && p.windows.bias) {
      const float* bias = p.windows.bias + int64_t(head) * p.tokens * p.tokens + warp * p.tokens;
      uint32_t to = shared_address(bias_memory()) + (warp * kBiasStride + lane) * 4;
      // Columns behind the last are copies of it.
      unsigned column[kKeys / 32];
      for (int i = 0; i < kKeys / 32; ++i) column[i] = min(lane + 32 * i, p.tokens - 1u);
      for (int t = warp; t < p.tokens; t += blockDim.y) {
        unroll<kKeys / 32>([&](auto i) { copy_word_async<128 * i>(to, bias + column[i]); });
        bias += blockDim.y * p.tokens, to += blockDim.y * kBiasStride * 4;
      }
    }
    if (p.windows.regions)
      for (int s = thread(); s < kKeys; s += step)
        region_memory()[s] = p.windows.regions[int64_t(window) * p.tokens + min(s, p.tokens - 1)];
  }

  __device__ int query(int half) const { return 16 * tile + lane / 4 + 8 * half; }

  // Operands of the first product, as signed bytes: a thread has kWidth / 4 channels of two queries that lie side by side.
  __device__ void load_query(uint32_t (&q)[2][4]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint8_t* row =
          p.q.data + image * p.q.image_stride + row_of_token(min(query(half), p.tokens - 1)) * p.q.stride + head * kWidth;
      if constexpr (kWidth == 64) {
        const uint4 four = *reinterpret_cast<const uint4*>(row + lane % 4 * 16);
        q[0][half] = four.x, q[0][half + 2] = four.y, q[1][half] = four.z, q[1][half + 2] = four.w;
      } else {
        const uint2 two = *reinterpret_cast<const uint2*>(row + lane % 4 * 8);
        q[0][half] = two.x, q[0][half + 2] = two.y;
      }
    }
#pragma unroll
    for (int i = 0; i < kWidth / 8; ++i) q[i / 4][i % 4] ^= 0x80808080u;
  }

  // Values as they are multiplied: four keys of a channel in a word, signed. A warp turns 32 keys at a time, 16 channels with a
  // load.
  __device__ void turn_values() const {
    constexpr int kFragments = kWidth / 8;
    const unsigned row = lane % 8, g = lane / 4, t = lane % 4;
    // Matrix i / 8: rows of the first two, or the last two, of every four keys; the second half of 32 keys.
    const unsigned key = lane / 16 * 16 + lane / 8 % 2 * 2 + row / 2 * 4 + row % 2;
    // Channels 16 chunk + 2 g, and the next, are columns 2 c and 2 c + 1 of fragment f, so that a thread ends up with channels
    // side by side: f = g and c = chunk of 8 fragments, f = g % 4 and c = 2 chunk + g / 4 of 4.
    const unsigned f = g % kFragments, c = kFragments == 8 ? 0 : g / 4;
    const uint32_t from = raw_at() + value_place(key, 0), to = values_at() + f / 2 * kPair + f % 2 * 8 + c * 128 + t * 16;
    for (int block = warp; 32 * block < copied_rows(); block += blockDim.y) {
      const uint32_t rows32 = from + block * 32 * kWidth, pairs = to + block * (kFragments / 2) * kPair;
      unroll<kChunks>([&](auto chunk) {
        uint32_t word[4];
        load_transposed(rows32 ^ 16 * chunk, word);
        for (uint32_t& each : word) each ^= 0x80808080u;
        constexpr int kOffset = chunk * 128 * (8 / kFragments);
        store_pair<kOffset>(pairs, __byte_perm(word[0], word[1], 0x6420), __byte_perm(word[2], word[3], 0x6420));
        store_pair<kOffset + 64>(pairs, __byte_perm(word[0], word[1], 0x7531), __byte_perm(word[2], word[3], 0x7531));
      });
    }
  }

  __device__ void share_copies(const uint8_t* table) const {
    const auto* words = reinterpret_cast<const uint32_t*>(table);
    auto* copies = reinterpret_cast<uint4*>(table_memory());
    for (int i = thread(); i < kSharedTable / 16; i += blockDim.y * 32) {
      const uint32_t word = words[i / 8];
      copies[i] = make_uint4(word, word, word, word);
    }
  }

  // The scores of two queries and four keys of every group: fragment f has keys 4 t + 2 f and the next. Keys are unsigned, which
  // adds 128 times the sum of the query to all scores of it. Sums begin with the bits of kRoundMagic, so that they are the bits
  // of kRoundMagic + score as they stand: |score| <= 128 * 255 * 64 < 2^22.
  __device__ void scores(const uint32_t (&q)[2][4]) {
    const unsigned g = lane / 4, row = g / 2 * 4 + g % 2;
    const uint32_t even = keys_at() + key_place(row) + lane % 4 * (kWidth / 4),
                   odd = keys_at() + key_place(row + 2) + lane % 4 * (kWidth / 4);
    unroll<kGroups>([&](auto group) {
      if (missing(group)) return;
      unroll<2>([&](auto f) {
        int(&sum)[4] = score[group][f];
        if constexpr (kWidth == 64) {
          uint32_t k[4];
          load_shared<group * 16 * kWidth>(f ? odd : even, k);
          multiply_s8_u8(sum, q[0], k[0], k[1], kMagicBits, kMagicBits, kMagicBits, kMagicBits);
          multiply_s8_u8(sum, q[1], k[2], k[3], sum[0], sum[1], sum[2], sum[3]);
        } else {
          uint32_t k[2];
          load_shared<group * 16 * kWidth>(f ? odd : even, k);
          multiply_s8_u8(sum, q[0], k[0], k[1], kMagicBits, kMagicBits, kMagicBits, kMagicBits);
        }
      });
    });
  }

  // The first of the keys of this thread in a fragment.
  __device__ int key(int group, int f) const { return 16 * group + lane % 4 * 4 + 2 * f; }
  __device__ bool partial(int group) const { return kGroups == 13 ? group == 12 : 16 * (group + 1) > p.tokens; }

  // Scores to exponentials; factor: what makes codes of those. That all exponents are off by the rounding of `shift` makes no
  // difference, since all probabilities of the query are.
  __device__ void exponentials(float (&factor)[2]) {
    int most[2] = {kMinusInfinity, kMinusInfinity};
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if (missing(group)) break;
      if (partial(group))
#pragma unroll
        for (int i = 0; i < 8; ++i)
          if (key(group, i / 4) + i % 2 >= p.tokens) score[group][i / 4][i % 4] = kMinusInfinity;
#pragma unroll
      for (int i = 0; i < 8; ++i) most[i / 2 % 2] = max(most[i / 2 % 2], score[group][i / 4][i % 4]);
    }
    const float scale = p.logit_scale[head] * kLog2E;
    float shift[2];
    for (int half = 0; half < 2; ++half) shift[half] = -(__int_as_float(largest_of_four(most[half])) * scale);
    add_exponentials(factor, [&](int group, int f, int i) { return multiply_add(score[group][f][i], scale, shift[i / 2]); });
  }
  // logarithm(group, f, i): to the base 2, of one exponential.
  template <class Logarithm>
  __device__ void add_exponentials(float (&factor)[2], Logarithm logarithm) {
    float sum[2] = {0.0f, 0.0f};
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if (missing(group)) break;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float e = exp2_approximate(logarithm(group, i / 4, i % 4));
        sum[i / 2 % 2] = sum[i / 2 % 2] + e;
        exponential[group][i / 4][i % 4] = e;
      }
    }
    for (int half = 0; half < 2; ++half) factor[half] = p.p_inverse_step[head] / sum_of_four(sum[half]);
  }

  // The same of logits that are biased, parted or coded.
  __device__ void exponentials_of_logits(const uint32_t (&q)[2][4], float (&factor)[2]) {
    int sums[4];
    multiply_s8_u8(sums, q[0], 0x01010101u, 0x01010101u, 0, 0, 0, 0);
    if constexpr (kWidth == 64) multiply_s8_u8(sums, q[1], 0x01010101u, 0x01010101u, sums[0], sums[1], sums[2], sums[3]);
    constexpr int kBiasStride = kTile.bias_stride();
    const float scale = p.logit_scale[head];
    float zero[2];
    for (int half = 0; half < 2; ++half) zero[half] = kRoundMagic + float(128 * sums[2 * half]);
    uint32_t coded = p.logit_inverse_step > 0.0f, parted = p.windows.regions != nullptr, biased = kBiasBytes && p.windows.bias;
    keep(coded), keep(parted), keep(biased);
    float most[2] = {-INFINITY, -INFINITY};
    uint32_t region[2];
    if (parted)
      for (int half = 0; half < 2; ++half) region[half] = region_memory()[query(half)] * 0x01010101u;
    const float* bias_rows[2];
    for (int half = 0; half < 2; ++half)
      bias_rows[half] = bias_memory() + min(query(half), p.tokens - 1) * kBiasStride + key(0, 0);
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if (missing(group)) break;
      float(&x)[2][4] = exponential[group];
      float bias[2][4] = {};
      if (biased)
        for (int half = 0; half < 2; ++half) load<4>(bias_rows[half] + 16 * group, bias[half]);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int f = i / 4, half = i / 2 % 2;
        x[f][i % 4] = __fmaf_rn(subtract(score[group][f][i % 4], zero[half]), scale, bias[half][2 * f + i % 2]);
      }
      if (coded)
#pragma unroll
        for (int i = 0; i < 8; ++i) x[i / 4][i % 4] = rintf(clamp(x[i / 4][i % 4] * p.logit_inverse_step, -128.0f, 127.0f));
      if (parted) {
        const uint32_t regions = *reinterpret_cast<const uint32_t*>(region_memory() + key(group, 0));
        for (int half = 0; half < 2; ++half) {
          const uint32_t others = regions ^ region[half];
#pragma unroll
          for (int b = 0; b < 4; ++b)
            if (others & 255u << (8 * b)) x[b / 2][2 * half + b % 2] = -INFINITY;
        }
      }
      if (partial(group))
#pragma unroll
        for (int i = 0; i < 8; ++i)
          if (key(group, i / 4) + i % 2 >= p.tokens) x[i / 4][i % 4] = -INFINITY;
#pragma unroll
      for (int i = 0; i < 8; ++i) most[i / 2 % 2] = fmaxf(most[i / 2 % 2], x[i / 4][i % 4]);
    }
    const float unit = (coded ? p.logit_step : 1.0f) * kLog2E;
    float shift[2];
    for (int half = 0; half < 2; ++half) shift[half] = -(largest_of_four(most[half]) * unit);
    add_exponentials(factor, [&](int group, int f, int i) { return __fmaf_rn(exponential[group][f][i], unit, shift[i / 2]); });
  }

  // probabilities[group][half]: four keys of a query. Groups that are missing are zeros. A sum with kRoundMagic has the rounded
  // product in its lowest byte.
  __device__ void encode_probabilities(const float (&factor)[2], uint32_t (&probabilities)[2 * kBlocks][2]) const {
    const float high = float(p.encode_p.high);
    if (p.encode_p.table) {
      encode_by_table(factor, probabilities);
    } else if (p.p_inverse_step[head] <= high) {
      // What is at most 1 needs no clamp.
      encode_groups(probabilities, [&](float e, int half) { return multiply_add_bits(e, factor[half], kRoundMagic); });
    } else {
      const float part[2] = {factor[0] / high, factor[1] / high};
      encode_groups(probabilities,
                    [&](float e, int half) { return multiply_add_bits(multiply_saturated(e, part[half]), high, kRoundMagic); });
    }
  }
  // encode(e, half): a word whose lowest byte is the code.
  template <class Encode>
  __device__ void encode_groups(uint32_t (&probabilities)[2 * kBlocks][2], Encode encode) const {
#pragma unroll
    for (int group = 0; group < 2 * kBlocks; ++group) {
      probabilities[group][0] = probabilities[group][1] = 0;
      if (group >= kGroups || missing(group)) continue;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t word[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) word[i] = encode(exponential[group][i / 2][2 * half + i % 2], half);
        probabilities[group][half] =
            __byte_perm(__byte_perm(word[0], word[1], 0x0040), __byte_perm(word[2], word[3], 0x0040), 0x5410);
      }
    }
  }
  __device__ void encode_by_table(const float (&factor)[2], uint32_t (&probabilities)[2 * kBlocks][2]) const {
    constexpr float kLast = kEncodeTable - 1;
    const float part[2] = {factor[0] * (2.0f / kLast), factor[1] * (2.0f / kLast)};
    const uint32_t copies = shared_address(table_memory()) + lane * 4;
    encode_groups(probabilities, [&](float e, int half) {
      // Rounded down, the place in the table.
      const uint32_t place = multiply_add_down_bits(multiply_saturated(e, part[half]), kLast, kRoundMagic);
      return load_byte(insert_bits(place, 3, (place & 0x1FCu) * 32 + copies));
    });
  }

  __device__ void values(const uint32_t (&probabilities)[2 * kBlocks][2], int (&y)[kWidth / 8][4]) const {
    const uint32_t from = values_at() + lane * 16;
    unroll<kBlocks>([&](auto block) {
      if (block > 0 && missing(2 * block)) return;
      const uint32_t a[4] = {probabilities[2 * block][0], probabilities[2 * block][1], probabilities[2 * block + 1][0],
                             probabilities[2 * block + 1][1]};
      unroll<kWidth / 16>([&](auto pair) {
        uint32_t v[4];
        load_shared<(block * (kWidth / 16) + pair) * kPair>(from, v);
#pragma unroll
        for (int f = 0; f < 2; ++f) {
          int(&sum)[4] = y[2 * pair + f];
          if (block == 0)
            multiply_u8_s8(sum, a, v[2 * f], v[2 * f + 1], 0, 0, 0, 0);
          else
            multiply_u8_s8(sum, a, v[2 * f], v[2 * f + 1], sum[0], sum[1], sum[2], sum[3]);
        }
      });
    });
  }

  // A thread has kWidth / 4 channels of two queries.
  __device__ void write(const int (&y)[kWidth / 8][4]) const {
    const float scale = p.output_scale[head] * p.encode.inverse_step;
    const bool whole = p.encode.low == -128 && p.encode.high == 127 && !p.encode.table;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (query(half) >= p.tokens) break;
      uint32_t words[kWidth / 16];
#pragma unroll
      for (int w = 0; w < kWidth / 16; ++w) {
        float v[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) v[i] = float(y[2 * w + i / 2][2 * half + i % 2]) * scale;
        if (whole) {
          words[w] = pack_signed(round_even(v[0]), round_even(v[1]), round_even(v[2]), round_even(v[3])) ^ 0x80808080u;
        } else {
          words[w] = 0;
          for (int i = 0; i < 4; ++i) words[w] |= uint32_t(encode_scaled(p.encode, v[i])) << (8 * i);
        }
      }
      uint8_t* to =
          p.y.data + image * p.y.image_stride + row_of_token(query(half)) * p.y.stride + head * kWidth + lane % 4 * (kWidth / 4);
      if constexpr (kWidth == 64)
        *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
      else
        *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
    }
  }

  const AttentionCodesParams& p;
  uint8_t* const memory;
  const uint32_t base;
  const unsigned lane, warp;
  unsigned head, window, image, tile;
  const int32_t* rows;
  int score[kGroups][2][4];
  float exponential[kGroups][2][4];
};

}  // namespace
}  // namespace fewbit::cuda

// Defines the kernel fewbit_attention_codes_<width>x<groups>_<logits>. Registers are such that two blocks of seven warps, or one
// of eight, fit a multiprocessor.
#define FEWBIT_ATTENTION_CODES(width, groups, logits)                                                    \
  extern "C" __global__ void __maxnreg__(groups == 13 ? 144 : 168)                                       \
      fewbit_attention_codes_##width##x##groups##_##logits(const fewbit::cuda::AttentionCodesParams p) { \
    extern __shared__ __align__(128) uint8_t shared[];                                                   \
    fewbit::cuda::AttentionBlock<width, groups, logits>(p, shared).run();                                \
  }
FEWBIT_ATTENTION_TILES(FEWBIT_ATTENTION_CODES)
