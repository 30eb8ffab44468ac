#include "cuda/ops/attention_codes.h"

#include <algorithm>

#include "cuda/ops/attention_tile.h"

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

// A tile and its kernel.
struct Variant {
  AttentionTile tile;
  const char* kernel;
};

#define FEWBIT_VARIANT(width, groups, logits) {{width, groups, logits}, "fewbit_attention_codes_" #width "x" #groups "_" #logits},

constexpr Variant kVariants[] = {FEWBIT_ATTENTION_TILES(FEWBIT_VARIANT)};

unsigned shared_bytes(const AttentionCodesParams& p, const AttentionTile& tile) {
  const bool table = p.encode_p.table && !p.fine_levels;
  return static_cast<unsigned>(tile.shared_bytes() - (table ? 0 : AttentionTile::kTable));
}

// Null where only the simple kernel will do.
const Variant* variant_of(const AttentionCodesParams& p, const Device& device) {
  const bool logits = p.windows.rows || p.windows.bias || p.windows.regions || p.windows.count > 1 || p.logit_inverse_step > 0;
  if (!aligned(p.q, 16) || !aligned(p.k, 16) || !aligned(p.v, 16) || !aligned(p.y, 16)) return nullptr;
  const Variant* best = nullptr;
  for (const Variant& variant : kVariants) {
    const AttentionTile& tile = variant.tile;
    if (tile.width != p.head_width || p.tokens > tile.keys() || tile.logits < logits) continue;
    if (p.windows.bias && tile.bias_bytes() == 0) continue;
    // The kernel of 13 groups is made for the tokens of 14 x 14 patches, and looks for no other number of groups.
    if (tile.groups == 13 && p.tokens <= 12 * 16) continue;
    if (static_cast<int>(shared_bytes(p, tile)) > device.block_shared) continue;
    if (!best || tile.groups < best->tile.groups || (tile.groups == best->tile.groups && !tile.logits)) best = &variant;
  }
  return best;
}

}  // namespace

TwoScales two_scales(const uint8_t* table, int high) {
  // (fine_levels - 1) * 2^coarse_shift, of which the first factor is odd.
  int shift = 0;
  while (shift < 7 && !(high >> shift & 1)) ++shift;
  const int last = high >> shift, levels = last + 1;
  const bool holds = shift > 0 && levels >= 1 << shift && levels <= 128 && (levels & last) == 0;
  if (!holds) return {};
  for (int i = 0; i < kEncodeTable; ++i) {
    const int fine = (i + 1) / 2, coarse = std::min((i + (1 << shift)) >> (shift + 1), last);
    if (table[i] != (fine < levels ? fine : coarse << shift)) return {};
  }
  return {levels, shift};
}

Workspace attention_codes_workspace(const AttentionCodesParams& p, const Device& device) {
  if (variant_of(p, device)) return {};
  return {in_shared(p) ? 0 : block_bytes_of(p) * blocks(p), 0};
}

Launch attention_codes_launch(AttentionCodesParams& p, const Device& device) {
  if (const Variant* variant = variant_of(p, device)) {
    const int tiles = (p.tokens + 15) / 16;
    p.parts = (tiles + kAttentionWarps - 1) / kAttentionWarps;
    const unsigned warps = (tiles + p.parts - 1) / p.parts;
    const unsigned tasks = static_cast<unsigned>(p.images) * p.windows.count * p.heads;
    return {variant->kernel, {tasks * p.parts, 1, 1}, {32, warps, 1}, shared_bytes(p, variant->tile)};
  }
  const bool shared = in_shared(p);
  return {shared ? "fewbit_attention_codes_simple" : "fewbit_attention_codes_long",
          {blocks(p), 1, 1},
          {32, kQueries, 1},
          shared ? static_cast<unsigned>(block_bytes_of(p)) : 0};
}

}  // namespace fewbit::cuda
