// Attention on codes for any shape: a warp has a query at a time, and keeps a float and a byte for each key, in shared memory or
// where they do not fit in the workspace. Thread j of a warp has the keys j, j + 32, ...
#include "cuda/kernels/attention_place.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/attention_codes.h"

namespace fewbit::cuda {
namespace {

// As bits of int32 in e. T: elements of a row that are multiplied at once.
template <class T>
__device__ void scores(const AttentionCodesParams& p, const AttentionQuery& at, float* e) {
  const T* q = reinterpret_cast<const T*>(at.row(p.q, at.token));
  each_score<int>(
      p.tokens, p.head_width / int(sizeof(T)),
      [&](int score, int key, int c) {
        const T k = reinterpret_cast<const T*>(at.row(p.k, key))[c];
        if constexpr (sizeof(T) == 1) return score + (q[c] - 128) * (k - 128);
        return __dp4a(int(q[c] ^ 0x80808080u), int(k ^ 0x80808080u), score);
      },
      [&](int key, int score) { e[key] = __int_as_float(score); });
}

// Whether heads begin at whole words in all rows.
__device__ bool has_words(const AttentionCodesParams& p) {
  const auto words = [&](const Matrix<const uint8_t>& m) { return aligned(m.data, m.stride | m.image_stride | p.head_width, 4); };
  return words(p.q) && words(p.k);
}

// Scores to exponentials.
__device__ void exponentials(const AttentionCodesParams& p, const AttentionQuery& at, float* e) {
  const int lane = threadIdx.x;
  const float scale = p.logit_scale[at.head];
  const bool coded = p.logit_inverse_step > 0.0f;
  if (!at.bias && !at.regions && !coded) {
    int most = INT_MIN;
#pragma unroll 1
    for (int s = lane; s < p.tokens; s += 32) most = max(most, __float_as_int(e[s]));
    most = warp_max(most);
#pragma unroll 1
    for (int s = lane; s < p.tokens; s += 32) e[s] = exp_nonpositive(float(__float_as_int(e[s]) - most) * scale);
    return;
  }
  float most = -INFINITY;
#pragma unroll 1
  for (int s = lane; s < p.tokens; s += 32) {
    float x = __fmaf_rn(float(__float_as_int(e[s])), scale, at.bias ? at.bias[s] : 0.0f);
    if (coded) x = float(round_even(clamp(x * p.logit_inverse_step, -128.0f, 127.0f)));
    if (at.attends(s)) most = fmaxf(most, x);
    e[s] = x;
  }
  most = warp_max(most);
  const float unit = coded ? p.logit_step : 1.0f;
#pragma unroll 1
  for (int s = lane; s < p.tokens; s += 32) e[s] = at.attends(s) ? exp_nonpositive((e[s] - most) * unit) : 0.0f;
}

// The sum of e in the order of the contract; thread j and thread j + 16 both have lane j.
__device__ float total(const float* e, int tokens) {
  float sum = 0.0f;
#pragma unroll 1
  for (int s = threadIdx.x % 16; s < tokens; s += 16) sum = sum + e[s];
  return tree16(sum);
}

__device__ void attention(const AttentionCodesParams& p, uint8_t* scratch) {
  const int padded = (p.tokens + 15) / 16 * 16, lane = threadIdx.x;
  float* e = reinterpret_cast<float*>(scratch) + static_cast<long long>(threadIdx.y) * padded;
  uint8_t* probabilities =
      scratch + static_cast<long long>(blockDim.y) * padded * 4 + static_cast<long long>(threadIdx.y) * padded;
  const long long queries = static_cast<long long>(p.images) * p.windows.count * p.heads * p.tokens;
  const long long all_warps = static_cast<long long>(gridDim.x) * blockDim.y;
  for (long long query = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y; query < queries; query += all_warps) {
    const AttentionQuery at(p, query);
    Encoder encode_p = p.encode_p, encode_y = p.encode;
    encode_p.table = table_of_row(encode_p, at.row_of_token(at.token));
    encode_y.table = table_of_row(encode_y, at.row_of_token(at.token));
    if (has_words(p))
      scores<uint32_t>(p, at, e);
    else
      scores<uint8_t>(p, at, e);
    __syncwarp();
    exponentials(p, at, e);
    __syncwarp();
    const float inverse = p.relative ? 1.0f : 1.0f / total(e, p.tokens);
    const float inverse_step = p.p_inverse_step[at.head];
    int codes = 0;
#pragma unroll 1
    for (int s = lane; s < p.tokens; s += 32) codes += probabilities[s] = encode_scaled(encode_p, e[s] * inverse * inverse_step);
    const float output_scale = p.output_scale[at.head];
    const float scale = p.relative ? relative_scale(output_scale, warp_sum(codes)) : output_scale;
    __syncwarp();
    uint8_t* y = at.row(p.y, at.token);
#pragma unroll 1
    for (int c = lane; c < p.head_width; c += 32) {
      int sum = 0;
      for (int s = 0; s < p.tokens; ++s) sum += probabilities[s] * (at.row(p.v, s)[c] - 128);
      y[c] = encode(encode_y, float(sum) * scale);
    }
    __syncwarp();
  }
}

}  // namespace
}  // namespace fewbit::cuda

using fewbit::cuda::AttentionCodesParams;

extern "C" __global__ void __launch_bounds__(128) fewbit_attention_codes_simple(const AttentionCodesParams p) {
  extern __shared__ __align__(16) uint8_t scratch[];
  fewbit::cuda::attention(p, scratch);
}
extern "C" __global__ void __launch_bounds__(128) fewbit_attention_codes_long(const AttentionCodesParams p) {
  const long long padded = (p.tokens + 15) / 16 * 16;
  fewbit::cuda::attention(p, p.workspace + blockIdx.x * (blockDim.y * padded * 5));
}
