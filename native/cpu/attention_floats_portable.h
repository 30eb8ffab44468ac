// Softmax of float attention. static: no file may get another's copy, which was compiled for another processor.
#pragma once

#include <cmath>

#include "ops/attention.h"
#include "ops/numeric.h"

namespace fewbit {

// Logits of keys that query t does not attend to become -infinity, whose exponential is 0.
static inline void part(const uint8_t* regions, int t, int tokens, float* logits) {
  if (!regions) return;
  for (int s = 0; s < tokens; ++s) logits[s] = regions[s] == regions[t] ? logits[s] : -INFINITY;
}

// The scores of query t to its probabilities, in place.
static inline void softmax(const AttentionPlace& place, int t, int tokens, float scale, float* p) {
  for (int s = 0; s < tokens; ++s) p[s] *= scale;
  if (place.bias)
    for (int s = 0; s < tokens; ++s) p[s] += place.bias[ptrdiff_t(t) * tokens + s];
  part(place.regions, t, tokens, p);
  float m = p[0];
  for (int s = 1; s < tokens; ++s) m = p[s] > m ? p[s] : m;
  float lanes[16] = {};
  for (int s = 0; s < tokens; ++s) lanes[s % 16] += p[s] = exp_nonpositive(p[s] - m);
  const float inverse_z = 1.0f / tree16(lanes);
  for (int s = 0; s < tokens; ++s) p[s] *= inverse_z;
}

}  // namespace fewbit
