// Windows of attention for tests of it and of its gradient.
#pragma once

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "ops/attention.h"

namespace fewbit {

// Windows in a random order of rows, with bias and regions where asked for. Every other window has one region only.
struct Windows {
  int count = 1;
  bool rows = false, bias = false, regions = false;
};

class WindowTables {
 public:
  WindowTables(const Windows& w, int heads, int tokens, float reach, std::mt19937& random) {
    op.count = w.count;
    std::uniform_real_distribution<float> uniform(-reach, reach);
    if (w.rows) {
      rows_.resize(w.count * tokens);
      std::iota(rows_.begin(), rows_.end(), 0);
      std::shuffle(rows_.begin(), rows_.end(), random);
      op.rows = rows_.data();
    }
    if (w.bias) {
      bias_.resize(heads * tokens * tokens);
      for (float& b : bias_) b = uniform(random);
      op.bias = bias_.data();
      bias_by_key_.resize(heads * tokens * bias_by_key_row(tokens));
      exchange_bias(bias_.data(), heads, tokens, bias_by_key_.data());
      op.bias_by_key = bias_by_key_.data();
    }
    if (w.regions) {
      regions_.resize(w.count * tokens);
      for (size_t i = 0; i < regions_.size(); ++i) regions_[i] = static_cast<uint8_t>(i / tokens % 2 ? 7 : random() % 3);
      op.regions = regions_.data();
    }
  }
  AttentionWindows op;

 private:
  std::vector<int32_t> rows_;
  std::vector<float> bias_, bias_by_key_;
  std::vector<uint8_t> regions_;
};

}  // namespace fewbit
