// Attention on codes on the device against the reference. The simple kernels give equal bits. Those on tensor cores have the
// device's exponential, so that a probability next to the middle between two levels, of which there are few, may become the other
// one.
#include "attention_codes_case.h"

#include <doctest/doctest.h>

using namespace fewbit;
using namespace fewbit::cuda;

namespace {

// What a step of a probability does to y in its own steps, at most: the largest distance of levels times 128.
double reach(const AttentionCase& c) {
  const double step = c.p_codebook ? 16.0 : c.p_fine_levels ? (c.p_levels - 1) / (c.p_fine_levels - 1) : 1.0;
  // Relative codes are divided by their sum, which is the largest level at least, and moves with the code: y moves by 255 of
  // values.
  if (c.relative) return std::ceil(step * 255.0 / (20.0 * (c.p_levels - 1)) * 1.2 * 60.0) + (c.y_table ? 4 : 1);
  return std::ceil(step * 128.0 / (20.0 * c.p_levels) * 1.2 * 60.0) + (c.y_table ? 4 : 1);
}

void check(const AttentionCase& c, unsigned seed, bool simple = false) {
  AttentionFixture fixture(c, seed);
  const std::vector<uint8_t> expected = fixture.expected(), got = fixture.result();
  INFO(fixture.kernel(), ": ", c.images, " images, ", c.heads, " heads, ", c.tokens, " tokens of ", c.head_width, ", levels ",
       c.p_levels, std::string(c.p_codebook ? " by table" : ""), ", fine ", c.p_fine_levels, ", windows ", c.windows.count,
       c.windows.rows, c.windows.bias, c.windows.regions, ", logits ", c.logit_step, ", gap ", c.gap, ", fine every ",
       c.p_fine_every, c.y_fine_every);
  if (simple) {
    CHECK(got == expected);
    return;
  }
  CHECK(fixture.kernel().find("x") != std::string::npos);
  const size_t row = c.heads * c.head_width + c.gap, rows = size_t(c.windows.count) * c.tokens;
  const auto is_fine = [&](size_t t) {
    return (c.p_fine_every && t % c.p_fine_every == 0) || (c.y_fine_every && t % c.y_fine_every == 0);
  };
  double worst = 0;
  size_t others = 0, fine = 0, others_of_fine = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    worst = std::max(worst, std::fabs(double(got[i]) - expected[i]));
    others += got[i] != expected[i];
    if (!is_fine(i / row % rows)) continue;
    ++fine, others_of_fine += got[i] != expected[i];
  }
  CHECK(worst <= reach(c));
  // A few probabilities, each with the channels of a head.
  CHECK(others <= size_t(4 * c.head_width) + got.size() / 500);
  CHECK(others_of_fine <= size_t(c.head_width) + fine / 200);
}

}  // namespace

TEST_SUITE("host") {
  TEST_CASE("attention on codes: tables of two scales are known from others") {
    for (int bits = 3; bits <= 8; ++bits)
      for (int shift = 1, levels = 1 << (bits - 1); ((levels - 1) << shift) <= 255; ++shift) {
        AttentionCase c{1, 1, 1, 32, ((levels - 1) << shift) + 1, levels};
        AttentionFixture fixture(c, 1);
        uint8_t table[kEncodeTable];
        std::memcpy(table, fixture.op().encode_p.table, sizeof table);
        const bool gap = 1 << shift > levels;
        const TwoScales found = two_scales(table, c.p_levels - 1);
        CHECK(found.fine_levels == (gap ? 0 : levels));
        CHECK(found.coarse_shift == (gap ? 0 : shift));
        for (int i : {1, 2 * levels, kEncodeTable - 1}) {
          ++table[i];
          CHECK(two_scales(table, c.p_levels - 1).fine_levels == 0);
          --table[i];
        }
      }
  }
}

TEST_CASE("attention on codes: every edge of tokens") {
  unsigned seed = 0;
  for (int width : {32, 64})
    for (int tokens :
         {1, 2, 3, 15, 16, 17, 31, 32, 33, 48, 49, 63, 64, 65, 127, 128, 129, 192, 193, 196, 197, 208, 209, 240, 255, 256}) {
      ++seed;
      AttentionCase c{1 + int(seed % 2), 1 + int(seed % 3), tokens, width};
      c.gap = seed % 2 * 16;
      if (seed % 3 == 1) c.p_levels = 16;
      if (seed % 5 == 1) c.p_codebook = true, c.p_levels = 256;
      if (seed % 5 == 2) c.p_fine_levels = 128, c.p_levels = 255;
      if (seed % 5 == 3) c.p_fine_levels = 64, c.p_levels = 253;
      if (seed % 5 == 4) c.p_fine_levels = 16, c.p_levels = 241;
      c.y_table = seed % 7 == 1;
      c.relative = seed % 4 >= 2;
      check(c, seed, width == 32 && tokens > 64);
    }
}

TEST_CASE("attention on codes: windows, biases, regions and coded logits") {
  unsigned seed = 100;
  for (int width : {32, 64})
    for (int tokens : {1, 4, 16, 17, 36, 49, 64})
      for (unsigned features = 0; features < 8; ++features) {
        ++seed;
        AttentionCase c{1 + int(seed % 2), 2, tokens, width};
        c.windows = {1 + int(seed % 3), (features & 1) != 0 || seed % 3 != 0, (features & 2) != 0, (features & 4) != 0};
        if (seed % 4 == 1) c.logit_step = 0.05f;
        if (seed % 5 == 1) c.p_levels = 64;
        c.relative = seed / 8 % 2 == 1;
        check(c, seed);
      }
  for (int tokens : {65, 130, 197}) {
    AttentionCase c{1, 2, tokens, 64};
    c.logit_step = 0.05f;
    check(c, seed++);
  }
}

TEST_CASE("attention on codes: fine rows") {
  unsigned seed = 200;
  for (int width : {20, 32, 64})
    for (int tokens : {1, 17, 64, 197, 256})
      for (int windows : {1, 3})
        for (unsigned fine : {1, 2, 3}) {
          ++seed;
          AttentionCase c{2, 2, tokens, width};
          c.windows = {windows, windows > 1, seed % 4 == 1, false};
          const int every = seed % 3 == 0 ? 7 : seed % 3 == 1 ? 40 : windows * tokens;
          if (fine & 1) c.p_fine_every = every;
          if (fine & 2) c.y_fine_every = every;
          c.y_table = fine != 1 || seed % 5 == 1;
          c.p_codebook = seed % 2;
          if (!c.p_codebook) c.p_fine_levels = 16, c.p_levels = 241;
          c.relative = seed / 2 % 2;
          if (seed % 7 == 1) c.logit_step = 0.05f;
          check(c, seed, width == 20 || (width == 32 && tokens > 64));
        }
}

TEST_CASE("attention on codes: shapes that the simple kernels have") {
  check({1, 2, 7, 20}, 1, true);
  check({2, 1, 257, 64}, 2, true);
  AttentionCase odd{1, 2, 33, 32};
  odd.gap = 1;
  check(odd, 3, true);
  odd.relative = true, odd.p_codebook = true;
  check(odd, 4, true);
}
