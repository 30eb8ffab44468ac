// Where a query of attention finds its rows: native/ops/attention.h on the device.
#pragma once

#include <climits>

#include "cuda/ops/device.h"
#include "ops/attention.h"

namespace fewbit::cuda {

// One query of one head of one window of one image.
struct AttentionQuery {
  int image, window, head, token, column;
  const int32_t* rows;     // null, or [tokens]
  const float* bias;       // null, or [tokens]: of this query
  const uint8_t* regions;  // null, or [tokens]

  // query: counts tokens, then heads, then windows, then images.
  template <class Params>
  __device__ AttentionQuery(const Params& p, long long query) {
    const AttentionWindows& windows = p.windows;
    token = int(query % p.tokens), query /= p.tokens;
    head = int(query % p.heads), query /= p.heads;
    window = int(query % windows.count), image = int(query / windows.count);
    column = head * p.head_width;
    const long long first = static_cast<long long>(window) * p.tokens;
    rows = windows.rows ? windows.rows + first : nullptr;
    regions = windows.regions ? windows.regions + first : nullptr;
    bias = windows.bias ? windows.bias + (static_cast<long long>(head) * p.tokens + token) * p.tokens : nullptr;
  }

  __device__ bool attends(int key) const { return !regions || regions[key] == regions[token]; }

  // In the image.
  __device__ int row_of_token(int of_token) const { return rows ? rows[of_token] : of_token; }

  // This head's part of the row of a token.
  template <class T>
  __device__ T* row(const Matrix<T>& matrix, int of_token) const {
    return matrix.at(image, row_of_token(of_token)) + column;
  }
};

// put(key, score) for the keys of a query, by a warp. add(score, key, c): the score and the product with element c of the key, of
// `count`. As many threads as there are elements share a key, so that rows are read as they lie. Followed by __syncwarp().
template <class Score, class Add, class Put>
__device__ static inline void each_score(int tokens, int count, Add add, Put put) {
  int threads = 32;
  while (threads / 2 >= count && threads > 1) threads /= 2;
  const int own = threadIdx.x % threads, offset = threadIdx.x / threads;
#pragma unroll 1
  for (int first = 0; first < tokens; first += 32 / threads) {
    const int key = first + offset;
    Score score = 0;
    if (key < tokens)
#pragma unroll 1
      for (int c = own; c < count; c += threads) score = add(score, key, c);
#pragma unroll 1
    for (int half = threads / 2; half; half /= 2) score = score + __shfl_xor_sync(0xFFFFFFFFu, score, half);
    if (key < tokens && own == 0) put(key, score);
  }
}

}  // namespace fewbit::cuda
