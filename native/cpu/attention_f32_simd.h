// AttentionF32 with keys in the lanes of vectors. Six queries at a time; K transposed to [channels][keys], V copied to rows
// padded with zeros. Include simd_avx512.h or simd_avx2.h first.
//
// Errors: a score is a sum of head_width products, each rounded once; its error e gives a relative error of about e in P; the
// sums over keys add a few rounding errors more. No order of summation is promised.
#pragma once

#include <cstring>

#include "cpu/attention_floats_simd.h"

namespace fewbit {
namespace {

inline void attention_f32(const AttentionF32& op, int task, void* scratch) {
  const AttentionPlace place = attention_place(op, task);
  const int b = place.image, h = place.head, tokens = op.tokens, width = op.head_width;
  const int32_t* rows_of = place.rows;
  const uint8_t* regions = parting_regions(place.regions, tokens);
  const float* q = op.q + b * op.q_image_stride + h * width;
  const float* k = op.k + b * op.k_image_stride + h * width;
  const float* v = op.v + b * op.v_image_stride + h * width;
  float* y = op.y + b * op.y_image_stride + h * width;
  const int keys = round_up(tokens, 16), channels = round_up(width, 16);

  float* k_t = static_cast<float*>(scratch);              // [width][keys]
  float* v_rows = k_t + ptrdiff_t(width) * keys;          // [tokens][channels]
  float* scores = v_rows + ptrdiff_t(tokens) * channels;  // [kAttentionRows][keys]
  float* sums = scores + kAttentionRows * keys;           // [kAttentionRows][channels]
  float* q_rows = sums + kAttentionRows * channels;       // [kAttentionRows][width]
  for (int s = 0; s < keys; ++s) {
    const float* row = k + (s < tokens ? attention_row(rows_of, s) : 0) * op.k_stride;
    for (int c = 0; c < width; ++c) k_t[ptrdiff_t(c) * keys + s] = s < tokens ? row[c] : 0.0f;
  }
  for (int s = 0; s < tokens; ++s) {
    std::memcpy(v_rows + ptrdiff_t(s) * channels, v + attention_row(rows_of, s) * op.v_stride, width * sizeof(float));
    std::memset(v_rows + ptrdiff_t(s) * channels + width, 0, (channels - width) * sizeof(float));
  }

  for (int t = 0; t < tokens; t += kAttentionRows) {
    const int rows = t + kAttentionRows < tokens ? kAttentionRows : tokens - t;
    for (int r = 0; r < kAttentionRows; ++r)  // rows behind the last query repeat it: their results are dropped
      std::memcpy(q_rows + ptrdiff_t(r) * width, q + attention_row(rows_of, r < rows ? t + r : t) * op.q_stride,
                  width * sizeof(float));
    multiply<Order::by_rows>(q_rows, width, k_t, keys, width, scores);
    for (int r = 0; r < kAttentionRows; ++r) {
      softmax(scores + ptrdiff_t(r) * keys, tokens, op.scale[h], place.bias, regions, r < rows ? t + r : t);
    }
    multiply<Order::by_rows>(scores, keys, v_rows, channels, tokens, sums);
    for (int r = 0; r < rows; ++r) {
      std::memcpy(y + attention_row(rows_of, t + r) * op.y_stride, sums + ptrdiff_t(r) * channels, width * sizeof(float));
      if (!op.probabilities) continue;
      const ptrdiff_t row = (ptrdiff_t(place.window) * op.heads + h) * tokens + t + r;
      std::memcpy(op.probabilities + b * op.probabilities_image_stride + row * op.probabilities_stride,
                  scores + ptrdiff_t(r) * keys, tokens * sizeof(float));
    }
  }
}

}  // namespace
}  // namespace fewbit
