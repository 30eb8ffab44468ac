// Scratch sizes: the largest that any path asks for.
#include "ops/attention.h"

#include "ops/attention_gradient.h"

namespace fewbit {
namespace {

constexpr size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace

// The AMX path is the largest: its tiles pad channels and tokens to 64 and queries to 32 (attention_avx512.h). Portable code
// holds K and V as int16 and a few rows.
size_t attention_codes_scratch(int tokens, int head_width) {
  const size_t s = round_up(tokens, 64), c = round_up(head_width, 64);
  const size_t k_and_v = 2 * s * c;
  const size_t rows = 64 * (c + 4 * s + s + 4 * c);  // q, scores, P, output sums
  const size_t spill = 2 * 64;                       // behind q and P
  return 2 * k_and_v + rows + spill;
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
