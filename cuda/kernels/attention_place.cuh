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

  // This head's part of the row of a token.
  template <class T>
  __device__ T* row(const Matrix<T>& matrix, int of_token) const {
    return matrix.at(image, rows ? rows[of_token] : of_token) + column;
  }
};

}  // namespace fewbit::cuda
