#include "cuda/ops/attention_codes.h"

#include <algorithm>

namespace fewbit::cuda {
namespace {

// A block of the simple kernel has four queries, a warp each, which keeps a float and a byte a key.
constexpr int kQueries = 4;
constexpr unsigned kMostShared = 48 << 10;
constexpr unsigned kMostBlocks = 4096;

size_t block_bytes_of(const AttentionCodesParams& p) { return size_t(kQueries) * ((size_t(p.tokens) + 15) / 16 * 16) * 5; }

unsigned blocks(const AttentionCodesParams& p) {
  const int64_t queries = int64_t(p.images) * p.windows.count * p.heads * p.tokens;
  return static_cast<unsigned>(std::min<int64_t>((queries + kQueries - 1) / kQueries, kMostBlocks));
}

bool in_shared(const AttentionCodesParams& p) { return block_bytes_of(p) <= kMostShared; }

}  // namespace

Workspace attention_codes_workspace(const AttentionCodesParams& p, const Device&) {
  return {in_shared(p) ? 0 : block_bytes_of(p) * blocks(p), 0};
}

Launch attention_codes_launch(const AttentionCodesParams& p, const Device&) {
  const bool shared = in_shared(p);
  return {shared ? "fewbit_attention_codes_simple" : "fewbit_attention_codes_long",
          {blocks(p), 1, 1},
          {32, kQueries, 1},
          shared ? static_cast<unsigned>(block_bytes_of(p)) : 0};
}

}  // namespace fewbit::cuda
