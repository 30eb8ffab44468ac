// Scratch sizes: the largest that any path asks for.
#include "ops/attention.h"

#include <algorithm>

#include "ops/attention_gradient.h"

namespace fewbit {
namespace {

constexpr size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace

// AMX pads channels and tokens to 64 and queries to 32. VNNI has copies of q, k and v, scores and P of so many queries as stay in
// a cache, or of 16, and up to five queries by themselves. Portable code holds K and V as int16 and a few rows.
size_t attention_codes_scratch(int tokens, int head_width) {
  const size_t s = round_up(tokens, 64), c = round_up(head_width, 64);
  const size_t tiles = 32 * (c + 4 * s + s + 4 * c);  // q, scores, P, output sums
  const size_t lane_scores = std::max<size_t>(16 * 4 * s, kLaneScoreBytes);
  const size_t lanes = lane_scores + lane_scores / 4 + kMostLaneQueries * 4 * c + kMostFewQueries * (c + 4 * s + s);
  const size_t parts = 16 * 64;  // ten, each from a multiple of 64 bytes on, and what rows of bytes reach beyond the last
  return 4 * s * c + std::max(tiles, lanes) + parts;
}

void exchange_bias(const float* bias, int heads, int tokens, float* by_key) {
  const ptrdiff_t row = bias_by_key_row(tokens);
  for (ptrdiff_t h = 0; h < heads; ++h, bias += ptrdiff_t(tokens) * tokens)
    for (ptrdiff_t s = 0; s < tokens; ++s, by_key += row) {
      for (ptrdiff_t t = 0; t < tokens; ++t) by_key[t] = bias[t * tokens + s];
      for (ptrdiff_t t = tokens; t < row; ++t) by_key[t] = 0;
    }
}

size_t attention_f32_scratch(int tokens, int head_width) {
  const size_t s = round_up(tokens, 16), c = round_up(head_width, 16);
  return (2 * s * c + 8 * (s + 2 * c)) * sizeof(float);
}

// AVX-512: K and V transposed, K, dk and dv in rows, a block of queries and gradients with P and dS, six rows of sums; keys are
// rounded up to 6, then to 16.
size_t attention_gradient_scratch(int tokens, int head_width) {
  const size_t s = round_up(round_up(tokens, 6), 16), c = round_up(head_width, 16);
  return (5 * s * c + 2 * kAttentionGradientBlock * (s + c) + 6 * c) * sizeof(float);
}

}  // namespace fewbit
