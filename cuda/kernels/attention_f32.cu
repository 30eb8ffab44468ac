// Attention on floats, for calibration and comparison: a warp has a query at a time, and keeps a float for each key, in shared
// memory or where they do not fit in the workspace.
#include "cuda/kernels/attention_place.cuh"
#include "cuda/kernels/numeric.cuh"
#include "cuda/ops/attention_f32.h"

namespace fewbit::cuda {
namespace {

__device__ void attention(const AttentionF32Params& p, float* scratch) {
  const int lane = threadIdx.x;
  float* e = scratch + static_cast<long long>(threadIdx.y) * p.tokens;
  const long long queries = static_cast<long long>(p.images) * p.windows.count * p.heads * p.tokens;
  const long long all_warps = static_cast<long long>(gridDim.x) * blockDim.y;
  for (long long query = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y; query < queries; query += all_warps) {
    const AttentionQuery at(p, query);
    const float* q = at.row(p.q, at.token);
    const float scale = p.scale[at.head];
    float most = -INFINITY, z = 0.0f;
    each_score<float>(
        p.tokens, p.head_width, [&](float score, int key, int c) { return __fmaf_rn(q[c], at.row(p.k, key)[c], score); },
        [&](int key, float score) { e[key] = score; });
    __syncwarp();
#pragma unroll 1
    for (int s = lane; s < p.tokens; s += 32) {
      const float x = __fmaf_rn(e[s], scale, at.bias ? at.bias[s] : 0.0f);
      if (at.attends(s)) most = fmaxf(most, x);
      e[s] = x;
    }
    most = warp_max(most);
#pragma unroll 1
    for (int s = lane; s < p.tokens; s += 32) {
      e[s] = at.attends(s) ? exp_nonpositive(e[s] - most) : 0.0f;
      z = z + e[s];
    }
    const float inverse = 1.0f / warp_sum(z);
#pragma unroll 1
    for (int s = lane; s < p.tokens; s += 32) e[s] = e[s] * inverse;
    __syncwarp();
    if (p.probabilities.data) {
      const int row = (at.window * p.heads + at.head) * p.tokens + at.token;
      float* kept = p.probabilities.at(at.image, row);
#pragma unroll 1
      for (int s = lane; s < p.tokens; s += 32) kept[s] = e[s];
    }
    float* y = at.row(p.y, at.token);
#pragma unroll 1
    for (int c = lane; c < p.head_width; c += 32) {
      float sum = 0.0f;
      for (int s = 0; s < p.tokens; ++s) sum = __fmaf_rn(e[s], at.row(p.v, s)[c], sum);
      y[c] = sum;
    }
    __syncwarp();
  }
}

}  // namespace
}  // namespace fewbit::cuda

using fewbit::cuda::AttentionF32Params;

extern "C" __global__ void __launch_bounds__(128) fewbit_attention_f32(const AttentionF32Params p) {
  extern __shared__ __align__(16) float scratch[];
  fewbit::cuda::attention(p, scratch);
}
extern "C" __global__ void __launch_bounds__(128) fewbit_attention_f32_long(const AttentionF32Params p) {
  const long long block = static_cast<long long>(blockDim.y) * p.tokens;
  fewbit::cuda::attention(p, reinterpret_cast<float*>(p.workspace) + blockIdx.x * block);
}
