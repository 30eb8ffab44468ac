#include "cuda/ops/attention_codes.h"

#include <algorithm>

#include "cuda/ops/attention_tile.h"

namespace fewbit::cuda {
namespace {

// A block of the simple kernel has four queries, a warp each, which keeps a float and a byte a key.
constexpr int kQueries = 4;
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
    // The kernel of 13 groups is made for the tokens of 14 x 14 patches, and looks for no other number of groups.
    if (tile.groups == 13 && p.tokens <= 12 * 16) continue;
    if (static_cast<int>(shared_bytes(p, tile)) > device.block_shared) continue;
    if (!best || tile.groups < best->tile.groups || (tile.groups == best->tile.groups && !tile.logits)) best = &variant;
  }
  return best;
}

int tiles_of(int tokens) { return (tokens + 15) / 16; }

// The query of a thread, of two, and its keys of a group, of four: see kernels/attention_softmax.cuh.
int query_of(int tile, int lane, int half) { return 16 * tile + lane / 4 + 8 * half; }
int key_of(int group, int lane, int k) { return 16 * group + lane % 4 * 4 + k; }

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

int attention_codes_groups(const AttentionCodesParams& p, const Device& device) {
  const Variant* variant = variant_of(p, device);
  return variant && variant->tile.logits ? variant->tile.groups : 0;
}

size_t attention_codes_bias_floats(int heads, int tokens, int groups) { return size_t(heads) * tiles_of(tokens) * groups * 256; }

void attention_codes_bias(const float* bias, int heads, int tokens, int groups, float* to) {
  for (int head = 0; head < heads; ++head, bias += size_t(tokens) * tokens)
    for (int tile = 0; tile < tiles_of(tokens); ++tile)
      for (int group = 0; group < groups; ++group)
        for (int half = 0; half < 2; ++half)
          for (int lane = 0; lane < 32; ++lane)
            for (int k = 0; k < 4; ++k) {
              const int query = query_of(tile, lane, half), key = key_of(group, lane, k);
              *to++ = query < tokens && key < tokens ? bias[size_t(query) * tokens + key] : 0.0f;
            }
}

size_t attention_codes_foreign_words(int windows, int tokens, int groups) {
  return size_t(windows) * tiles_of(tokens) * attention_words(groups) * 32;
}

void attention_codes_foreign(const uint8_t* regions, int windows, int tokens, int groups, uint32_t* to) {
  for (int window = 0; window < windows; ++window)
    for (int tile = 0; tile < tiles_of(tokens); ++tile)
      for (int word = 0; word < attention_words(groups); ++word)
        for (int lane = 0; lane < 32; ++lane, ++to) {
          *to = 0;
          for (int bit = 0; bit < 32; ++bit) {
            // Bit 4 f + 2 half + b of a group is that of score[f][2 half + b].
            const int query = std::min(query_of(tile, lane, bit / 2 % 2), tokens - 1);
            const int key = key_of(4 * word + bit / 8, lane, bit / 4 % 2 * 2 + bit % 2);
            const uint8_t* region = regions ? regions + size_t(window) * tokens : nullptr;
            *to |= uint32_t(key >= tokens || (region && region[key] != region[query])) << bit;
          }
        }
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
