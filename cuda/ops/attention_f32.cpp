#include "cuda/ops/attention_f32.h"

#include <algorithm>

namespace fewbit::cuda {
namespace {

constexpr int64_t kMostBlocks = 4096;

size_t block_bytes_of(const AttentionF32Params& p) { return size_t(kAttentionF32Queries) * p.tokens * sizeof(float); }

unsigned blocks(const AttentionF32Params& p) {
  const int64_t queries = int64_t(p.images) * p.windows.count * p.heads * p.tokens;
  return static_cast<unsigned>(std::min((queries + kAttentionF32Queries - 1) / kAttentionF32Queries, kMostBlocks));
}

bool in_shared(const AttentionF32Params& p) { return block_bytes_of(p) <= kMostShared; }

}  // namespace

Workspace attention_f32_workspace(const AttentionF32Params& p, const Device&) {
  return {in_shared(p) ? 0 : block_bytes_of(p) * blocks(p), 0};
}

Launch attention_f32_launch(const AttentionF32Params& p, const Device&) {
  const bool shared = in_shared(p);
  return {shared ? "fewbit_attention_f32" : "fewbit_attention_f32_long",
          {blocks(p), 1, 1},
          {32, kAttentionF32Queries, 1},
          shared ? static_cast<unsigned>(block_bytes_of(p)) : 0};
}

}  // namespace fewbit::cuda
