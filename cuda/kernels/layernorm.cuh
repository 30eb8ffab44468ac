// What LayerNorm of floats and of codes have in common.
#pragma once

#include "cuda/kernels/numeric.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/layernorm.h"

namespace fewbit::cuda {

// The constants of columns, in shared memory, so that a block reads them once for all of its rows.
struct NormColumns {
  const float *gamma, *beta;
  Encoder encode;

  // shared: kLayerNormConstants * layernorm_pitch(width) floats, or null: then they stay where they are. Followed by a barrier.
  template <int vector, class Params>
  __device__ static NormColumns stage(const Params& p, float* shared) {
    NormColumns columns{p.gamma, p.beta, p.encode};
    if (!shared) return columns;
    const int pitch = layernorm_pitch(p.width);
    columns.gamma = copy<vector>(p.gamma, p.width, shared);
    columns.beta = copy<vector>(p.beta, p.width, shared + pitch);
    if (p.encode.inverse_steps) columns.encode.inverse_steps = copy<vector>(p.encode.inverse_steps, p.width, shared + 2 * pitch);
    return columns;
  }

  // Before what is in row r is finished.
  template <class Params>
  __device__ void begin_row(const Params& p, int r) {
    encode.table = table_of_row(p.encode, r);
  }

  // normalised: `vector` columns from `column` on, before gamma and beta.
  template <int vector, class Params>
  __device__ void finish(const Params& p, int r, int column, const float (&normalised)[vector]) const {
    float y[vector], scale[vector], shift[vector];
    load<vector>(gamma + column, scale);
    load<vector>(beta + column, shift);
#pragma unroll
    for (int k = 0; k < vector; ++k) y[k] = __fmaf_rn(normalised[k], scale[k], shift[k]);
    store_target<vector>(p.y_float.data ? row_of(p.y_float, r, p.image_rows) : nullptr,
                         p.y_codes.data ? row_of(p.y_codes, r, p.image_rows) : nullptr, encode, column, y);
  }

 private:
  template <int vector>
  __device__ static const float* copy(const float* from, int width, float* to) {
    each_column<vector>(threadIdx.x, kLayerNormThreads, width, [&](auto n, int i) {
      float values[n];
      load<n>(from + i, values);
      store<n>(to + i, values);
    });
    return to;
  }
};

}  // namespace fewbit::cuda
