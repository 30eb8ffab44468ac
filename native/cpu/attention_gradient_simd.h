// AttentionGradient: five products in blocks of six rows. Queries are taken kBlock at a time, so that the rows of P
// and dS that dk and dv sum over stay in the first-level cache. Include simd_avx512.h or simd_avx2.h first.
#pragma once

#include <cstring>

#include "cpu/attention_floats_simd.h"
#include "ops/attention_gradient.h"

namespace fewbit {
namespace {

constexpr int kBlock = kAttentionGradientBlock;
static_assert(kBlock % kAttentionRows == 0, "whole groups of rows");

// Rows of q, k, v or a gradient, seen from a token on.
struct Tokens {
  const float* x;
  ptrdiff_t stride;
  const int32_t* rows;  // null: token t is row t
  int first;
  const float* operator[](int t) const { return x + attention_row(rows, first + t) * stride; }
};

// [tokens][width] as [width][stride], zeros behind the last token.
void transpose(const Tokens& x, int tokens, int width, float* y, int stride) {
  for (int s = 0; s < stride; ++s) {
    const float* row = s < tokens ? x[s] : nullptr;
    for (ptrdiff_t c = 0; c < width; ++c) y[c * stride + s] = row ? row[c] : 0.0f;
  }
}

// [tokens][width] as [all][stride], zeros behind the last token and the last column.
void pad(const Tokens& x, int tokens, int width, float* y, int all, int stride) {
  std::memset(y, 0, size_t(all) * stride * sizeof(float));
  for (int s = 0; s < tokens; ++s) std::memcpy(y + ptrdiff_t(s) * stride, x[s], width * sizeof(float));
}

// ds from dP, in place: scale * P (dP - sum of P dP). Both are zero behind the last key.
void scores_gradient(const float* p, float* ds, int keys, float scale) {
  F32x16 sums = set16(0.0f);
  for (int s = 0; s < keys; s += 16) sums = fma(load(p + s), load(ds + s), sums);
  const F32x16 mean = set16(tree16(sums)), factor = set16(scale);
  for (int s = 0; s < keys; s += 16) store(ds + s, mul(mul(load(p + s), sub(load(ds + s), mean)), factor));
}

inline void attention_gradient(const AttentionGradient& op, int task, void* scratch) {
  const AttentionPlace place = attention_place(op, task);
  const int image = place.image, head = place.head, tokens = op.tokens, width = op.head_width;
  const uint8_t* regions = parting_regions(place.regions, tokens);
  const float scale = op.scale[head];
  const auto of = [&](const float* x, ptrdiff_t image_stride, ptrdiff_t stride, int first = 0) {
    return Tokens{x + image * image_stride + head * width, stride, place.rows, first};
  };
  const Tokens k = of(op.k, op.k_image_stride, op.k_stride), v = of(op.v, op.v_image_stride, op.v_stride);
  float* dq = op.y + image * op.y_image_stride + head * width;
  // By columns, six keys are read at a time: rows of P and dS have room for that.
  const int groups = round_up(tokens, kAttentionRows);
  const int keys = round_up(groups, 16), channels = round_up(width, 16);

  float* k_t = static_cast<float*>(scratch);               // [width][keys]
  float* v_t = k_t + ptrdiff_t(width) * keys;              // [width][keys]
  float* k_rows = v_t + ptrdiff_t(width) * keys;           // [tokens][channels]
  float* dk_rows = k_rows + ptrdiff_t(tokens) * channels;  // [groups][channels]
  float* dv_rows = dk_rows + ptrdiff_t(groups) * channels;
  float* q_rows = dv_rows + ptrdiff_t(groups) * channels;  // [kBlock][channels]
  float* g_rows = q_rows + kBlock * channels;
  float* p = g_rows + kBlock * channels;  // [kBlock][keys]
  float* ds = p + ptrdiff_t(kBlock) * keys;
  float* sums = ds + ptrdiff_t(kBlock) * keys;  // [kAttentionRows][channels]
  transpose(k, tokens, width, k_t, keys);
  transpose(v, tokens, width, v_t, keys);
  pad(k, tokens, width, k_rows, tokens, channels);
  std::memset(dk_rows, 0, 2 * size_t(groups) * channels * sizeof(float));

  for (int first = 0; first < tokens; first += kBlock) {
    const int rows = first + kBlock < tokens ? kBlock : tokens - first;
    const int padded = round_up(rows, kAttentionRows);
    pad(of(op.q, op.q_image_stride, op.q_stride, first), rows, width, q_rows, padded, channels);
    pad(of(op.gradient, op.gradient_image_stride, op.gradient_stride, first), rows, width, g_rows, padded, channels);
    for (int t = 0; t < rows; t += kAttentionRows) {
      float *p_rows = p + ptrdiff_t(t) * keys, *ds_rows = ds + ptrdiff_t(t) * keys;
      multiply<Order::by_rows>(q_rows + t * channels, channels, k_t, keys, width, p_rows);
      multiply<Order::by_rows>(g_rows + t * channels, channels, v_t, keys, width, ds_rows);
      for (int r = 0; r < kAttentionRows; ++r) {
        float *p_row = p_rows + ptrdiff_t(r) * keys, *ds_row = ds_rows + ptrdiff_t(r) * keys;
        softmax(p_row, tokens, scale, place.bias, regions, t + r < rows ? first + t + r : first);
        if (op.probabilities && t + r < rows) {
          float* image_rows = op.probabilities + image * op.probabilities_image_stride;
          const ptrdiff_t row = (ptrdiff_t(place.window) * op.heads + head) * tokens + first + t + r;
          std::memcpy(image_rows + row * op.probabilities_stride, ds_row, tokens * sizeof(float));
        }
        scores_gradient(p_row, ds_row, keys, scale);
      }
      multiply<Order::by_rows>(ds_rows, keys, k_rows, channels, tokens, sums);
      for (int r = 0; r < kAttentionRows && t + r < rows; ++r)
        std::memcpy(dq + attention_row(place.rows, first + t + r) * op.y_stride, sums + r * channels, width * sizeof(float));
    }
    for (int s = 0; s < tokens; s += kAttentionRows) {
      multiply<Order::by_columns>(ds + s, keys, q_rows, channels, rows, dk_rows + ptrdiff_t(s) * channels);
      multiply<Order::by_columns>(p + s, keys, g_rows, channels, rows, dv_rows + ptrdiff_t(s) * channels);
    }
  }

  float* dk = dq + ptrdiff_t(op.heads) * width;
  float* dv = dk + ptrdiff_t(op.heads) * width;
  for (int s = 0; s < tokens; ++s) {
    const ptrdiff_t row = attention_row(place.rows, s) * op.y_stride;
    std::memcpy(dk + row, dk_rows + ptrdiff_t(s) * channels, width * sizeof(float));
    std::memcpy(dv + row, dv_rows + ptrdiff_t(s) * channels, width * sizeof(float));
  }
}

}  // namespace
}  // namespace fewbit
