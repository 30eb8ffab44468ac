// What a block of attention has in shared memory: keys as they come, values turned for the tensor cores, the table of a code of
// probabilities.
#pragma once

#include "cuda/kernels/encode_table.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/attention_codes.h"
#include "cuda/ops/attention_tile.h"

namespace fewbit::cuda {

__device__ static __forceinline__ void load_transposed(uint32_t row, uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row)
               : "memory");
}

template <int offset>
__device__ static __forceinline__ void store_pair(uint32_t to, uint32_t a, uint32_t b) {
  asm volatile("st.shared.v2.u32 [%0 + %3], {%1, %2};" ::"r"(to), "r"(a), "r"(b), "n"(offset) : "memory");
}

template <int kWidth, int kGroups, bool kLogits>
class AttentionRows {
 public:
  static constexpr AttentionTile kTile{kWidth, kGroups, kLogits};
  static constexpr int kBlocks = kTile.blocks(), kPair = AttentionTile::kPair;

  __device__ AttentionRows(const AttentionCodesParams& params, uint8_t* shared)
      : p(params), lane(threadIdx.x), warp(threadIdx.y), memory_(shared), base_(shared_address(shared)) {
    // Parts of a head's queries, heads, windows, images. Windows are an affair of kernels with logits.
    unsigned block = blockIdx.x;
    const unsigned part = block % p.parts;
    block /= p.parts;
    head = block % p.heads, block /= p.heads;
    if (kLogits) window = block % p.windows.count, block /= p.windows.count;
    image = block;
    rows_ = kLogits && p.windows.rows ? p.windows.rows + int64_t(window) * p.tokens : nullptr;
    tile = part * blockDim.y + warp;
  }

  // Whether there are no keys in a group. Kernels of 13 groups are chosen for that many.
  __device__ bool missing(int group) const { return kGroups != 13 && 16 * group >= p.tokens; }
  // The first of the keys of this thread in a fragment of scores.
  __device__ int key(int group, int f) const { return 16 * group + lane % 4 * 4 + 2 * f; }
  __device__ int query(int half) const { return 16 * tile + lane / 4 + 8 * half; }

  // Whether a query's row is one of the fine rows of a code.
  __device__ bool is_fine(const Encoder& code, int half) const {
    return code.fine_every && cuda::is_fine(code, row_of_token(min(query(half), p.tokens - 1)));
  }

  // This thread's quarter of the head in the row of a query.
  template <class T>
  __device__ T* quarter(const Matrix<T>& matrix, int token) const {
    const auto* first = reinterpret_cast<const uint8_t*>(matrix.data) + image * matrix.image_stride;
    const uint8_t* row = advance(first, row_of_token(token), static_cast<uint32_t>(matrix.stride));
    return const_cast<T*>(row + (head * kWidth + lane % 4 * (kWidth / 4)));
  }

  __device__ uint32_t keys_at() const { return base_; }
  __device__ uint32_t values_at() const { return base_ + 2 * kRowBytes; }
  __device__ uint32_t table_at() const { return base_ + kTablePlace; }

  // Where a key's bytes lie: rows that are read together are in different banks. All is the same 16 rows later.
  __device__ static uint32_t key_place(unsigned row) { return (kWidth == 64 ? row : row ^ (row >> 1 & 2)) * kWidth; }

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

  // The table of the code of probabilities.
  __device__ void copy_table() const { share_table(p.encode_p.table, memory_ + kTablePlace, thread(), blockDim.y * 32); }

  const AttentionCodesParams& p;
  const unsigned lane, warp;
  unsigned head, window, image;
  unsigned tile;  // of 16 queries

 private:
  static constexpr int kRowBytes = kTile.row_bytes(), kChunks = kWidth / 16;
  static constexpr int kTablePlace = 2 * kRowBytes + kTile.value_bytes();

  __device__ unsigned thread() const { return warp * 32 + lane; }
  __device__ int row_of_token(int token) const { return rows_ ? rows_[token] : token; }
  // Values are turned 32 keys at a time.
  __device__ int copied_rows() const { return kGroups == 13 ? 224 : (p.tokens + 31) / 32 * 32; }

  // Values as they come.
  __device__ uint32_t raw_at() const { return base_ + kRowBytes; }
  __device__ static uint32_t value_place(unsigned row, unsigned chunk) {
    const unsigned unit = row * kChunks + chunk;
    return (kWidth == 64 ? unit ^ (row >> 2 & 3) : unit ^ ((row >> 2 & 1) | (row >> 1 & 4))) * 16;
  }

  uint8_t* const memory_;
  const uint32_t base_;
  const int32_t* rows_;
};

}  // namespace fewbit::cuda
