// Every implementation of attention against the reference. Codes: equal bits. Floats: a derived bound.
#include <doctest/doctest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "attention_windows.h"
#include "buffers.h"
#include "cpu/kernels.h"
#include "ops/numeric.h"

using namespace fewbit;

namespace fewbit::emulated {
void attention_codes_amx(const AttentionCodes& op, int task, void* scratch);
}

namespace {

// The edges of vectors, quads, row blocks and tiles, and the token counts of real models.
const int kTokens[] = {1,  2,  3,  4,  5,  6,  7,  12, 15,  16,  17,  31,  32,  33,  47, 49,
                       50, 51, 63, 64, 65, 66, 67, 84, 117, 118, 127, 128, 129, 150, 230};
const int kWidths[] = {1, 3, 4, 5, 15, 16, 17, 20, 32, 33, 48, 63, 64, 65, 80, 128, 130};

struct Implementation {
  std::string name;
  void (*run)(const AttentionCodes&, int, void*);
};

std::vector<Implementation> implementations() {
  std::vector<Implementation> list;
  for (const Path& path : paths())
    if (path.runs) list.push_back({path.name, path.kernels->attention_codes});
#if FEWBIT_X86
  if (find_path("avx512vnni")->runs) list.push_back({"amx emulated", emulated::attention_codes_amx});
#endif
  return list;
}

struct CodesCase {
  int images, heads, tokens, head_width;
  int p_levels;  // 255, 15, ...
  bool p_table;  // a logarithmic code of P
  bool y_table;
  enum { random, extreme, equal } bytes;
  float temperature;  // standard deviation of a logit
  Windows windows = {};
  float logit_step = 0;
  bool relative = false;
  int fine_every = 0, fine_every_p = 0;  // rows of y and of P; with a table
};

class CodesFixture {
 public:
  CodesFixture(const CodesCase& c, unsigned seed) : c_(c), random_(seed) {
    const int width = c.heads * c.head_width, rows = c.windows.count * c.tokens;
    // q, k and v as columns of one edge in every other case, else apart; image strides with room behind the rows.
    const bool joint = seed % 2 == 0;
    stride_ = joint ? 3 * width + int(seed % 7) : width + int(seed % 5);
    image_stride_ = rows * stride_ + int(seed % 11);
    const size_t size = size_t(c.images - 1) * image_stride_ + (rows - 1) * stride_ + (joint ? 3 : 1) * width;
    for (int i = 0; i < (joint ? 1 : 3); ++i) {
      edges_.emplace_back(size);
      for (size_t j = 0; j < size; ++j) edges_.back().data()[j] = byte(j);
    }
    op_ = {};
    op_.images = c.images, op_.heads = c.heads, op_.tokens = c.tokens, op_.head_width = c.head_width;
    op_.q = edges_[0].data();
    op_.k = joint ? op_.q + width : edges_[1].data();
    op_.v = joint ? op_.q + 2 * width : edges_[2].data();
    op_.q_stride = op_.k_stride = op_.v_stride = stride_;
    op_.q_image_stride = op_.k_image_stride = op_.v_image_stride = image_stride_;
    for (int h = 0; h < c.heads; ++h) {
      logit_scale_.push_back(c.temperature / (74.0f * 74.0f * std::sqrt(float(c.head_width))) * (1 + 0.3f * h));
      p_inverse_step_.push_back(float(c.p_levels) * (1 + 0.1f * h));
      output_scale_.push_back(1.0f / (c.relative ? 40.0f : 40.0f * c.p_levels) * (1 + 0.2f * h));
    }
    op_.logit_scale = logit_scale_.data();
    op_.p_inverse_step = p_inverse_step_.data();
    op_.output_scale = output_scale_.data();
    p_table_.resize(kEncodeTable);
    y_table_.resize(kEncodeTable);
    for (int i = 0; i < kEncodeTable; ++i) {
      int power = 1;
      while (2 * power <= i / 2 && power < 128) power *= 2;
      p_table_[i] = static_cast<uint8_t>(i < 2 ? 0 : power);
      y_table_[i] = static_cast<uint8_t>(i / 2 & ~3);
    }
    op_.encode_p = {0.0f, 0, c.p_levels, 0, c.p_table ? p_table_.data() : nullptr, nullptr, c.fine_every_p};
    op_.encode = {30.0f, -128, 127, 128, c.y_table ? y_table_.data() : nullptr, nullptr, c.fine_every};
    op_.y_stride = width + 3;
    op_.y_image_stride = rows * op_.y_stride + 5;
    tables_ = std::make_unique<WindowTables>(c.windows, c.heads, c.tokens, 2 * c.temperature, random_);
    op_.windows = tables_->op;
    if (c.logit_step > 0) op_.logit_step = c.logit_step, op_.logit_inverse_step = 1.0f / c.logit_step;
    op_.relative = c.relative;
  }

  template <class Run>
  std::vector<uint8_t> result(Run run) {
    Guarded<uint8_t> y(c_.images * op_.y_image_stride);
    op_.y = y.data();
    run(op_);
    return y.bytes();
  }

  // The result whose rows are those of `fine` where they are fine, and else those of `usual`.
  std::vector<uint8_t> mixed(std::vector<uint8_t> usual, const std::vector<uint8_t>& fine, int every) {
    const ptrdiff_t guard = (ptrdiff_t(usual.size()) - c_.images * op_.y_image_stride + 1) / 2;
    for (ptrdiff_t at = 0; at < c_.images * op_.y_image_stride; ++at)
      if (at % op_.y_image_stride / op_.y_stride % every == 0) usual[guard + at] = fine[guard + at];
    return usual;
  }

  std::vector<uint8_t> result(const Implementation& implementation) {
    Aligned<uint8_t> scratch(attention_codes_scratch(c_.tokens, c_.head_width));
    return result([&](const AttentionCodes& op) {
      for (int task = attention_tasks(op) - 1; task >= 0; --task) implementation.run(op, task, scratch.data());
    });
  }

 private:
  uint8_t byte(size_t i) {
    if (c_.bytes == CodesCase::extreme) return i % 3 ? 0 : 255;
    if (c_.bytes == CodesCase::equal) return 77;
    return static_cast<uint8_t>(random_());
  }

  CodesCase c_;
  std::mt19937 random_;
  ptrdiff_t stride_, image_stride_;
  std::vector<Aligned<uint8_t>> edges_;
  std::vector<float> logit_scale_, p_inverse_step_, output_scale_;
  std::vector<uint8_t> p_table_, y_table_;
  std::unique_ptr<WindowTables> tables_;
  AttentionCodes op_;
};

void check(const CodesCase& c, unsigned seed) {
  CodesFixture fixture(c, seed);
  const std::vector<uint8_t> want = fixture.result(attention_codes_reference);
  for (const Implementation& implementation : implementations()) {
    INFO(implementation.name, ": ", c.images, " images, ", c.heads, " heads, ", c.tokens, " tokens, head_width ", c.head_width,
         ", p levels ", c.p_levels, std::string(c.p_table ? ", p table" : ""), std::string(c.y_table ? ", y table" : ""),
         ", bytes ", int(c.bytes), ", windows ", c.windows.count, std::string(c.windows.rows ? ", rows" : ""),
         std::string(c.windows.bias ? ", bias" : ""), std::string(c.windows.regions ? ", regions" : ""), ", logit step ",
         c.logit_step, std::string(c.relative ? ", relative" : ""), ", fine every ", c.fine_every, ", of P ", c.fine_every_p,
         ", seed ", seed);
    const bool equal = fixture.result(implementation) == want;
    REQUIRE(equal);
  }
}

// The reference with fine rows is the one with the table and, in fine rows, the one without; all are the reference.
void check_fine(const CodesCase& c, unsigned seed) {
  check(c, seed);
  CodesCase usual = c;
  usual.fine_every = usual.fine_every_p = 0;
  CodesCase fine = usual;
  fine.y_table = !c.fine_every, fine.p_table = !c.fine_every_p;
  const auto reference = [&](const CodesCase& with) { return CodesFixture(with, seed).result(attention_codes_reference); };
  const int every = c.fine_every ? c.fine_every : c.fine_every_p;
  const bool equal = reference(c) == CodesFixture(c, seed).mixed(reference(usual), reference(fine), every);
  REQUIRE(equal);
}

// One image, one head and one channel, so that every row is a byte; all levels of a byte for P and for y, whose step is 1.
AttentionCodes one_channel(const std::vector<uint8_t>& q, const std::vector<uint8_t>& k, const std::vector<uint8_t>& v,
                           std::vector<uint8_t>& y, const float* logit_scale, const float* p_inverse_step,
                           const float* output_scale) {
  AttentionCodes op = {};
  op.images = 1, op.heads = 1, op.tokens = int(q.size()), op.head_width = 1;
  op.q = q.data(), op.k = k.data(), op.v = v.data(), op.y = y.data();
  op.q_stride = op.k_stride = op.v_stride = op.y_stride = 1;
  op.logit_scale = logit_scale, op.p_inverse_step = p_inverse_step, op.output_scale = output_scale;
  op.encode_p = {0.0f, 0, 255, 0, nullptr}, op.encode = {1.0f, -128, 127, 128, nullptr};
  return op;
}

}  // namespace

TEST_CASE("attention codes: all implementations give the reference's bits") {
  unsigned seed = 0;
  const int levels[] = {255, 15, 127, 3};
  for (int tokens : kTokens)
    for (int width : kWidths) {
      ++seed;
      // Every pair of token count and width, the other choices by turns.
      check({1 + int(seed % 2), 1 + int(seed % 3), tokens, width, levels[seed % 4], seed % 5 == 0, seed % 6 == 0,
             CodesCase::random, seed % 4 ? 2.0f : 20.0f},
            seed);
      check({1 + int(seed % 2),
             1 + int(seed % 3),
             tokens,
             width,
             levels[seed % 4],
             seed % 5 == 0,
             seed % 6 == 0,
             CodesCase::random,
             seed % 4 ? 2.0f : 20.0f,
             {},
             0,
             true},
            seed);
    }
}

TEST_CASE("attention codes: sizes of real models") {
  check({2, 3, 197, 64, 255, false, false, CodesCase::random, 3.0f}, 1);
  check({1, 2, 198, 64, 15, true, false, CodesCase::random, 3.0f}, 2);
  check({1, 1, 577, 64, 255, false, false, CodesCase::random, 3.0f}, 3);
  check({1, 2, 257, 80, 255, false, true, CodesCase::random, 1.0f}, 4);
}

TEST_CASE("attention codes: extreme and equal bytes") {
  for (int tokens : {1, 5, 65, 197})
    for (int width : {3, 64, 80}) {
      check({1, 2, tokens, width, 255, false, false, CodesCase::extreme, 1.0f}, 5);
      check({1, 2, tokens, width, 255, false, false, CodesCase::extreme, 1000.0f}, 6);  // exp below -87
      check({1, 2, tokens, width, 255, true, true, CodesCase::equal, 1.0f}, 7);
      for (float temperature : {1.0f, 1000.0f})
        check({1, 2, tokens, width, 255, false, false, CodesCase::extreme, temperature, {}, 0, true}, 8);
      check({1, 2, tokens, width, 255, false, false, CodesCase::extreme, 1.0f, {}, 0.1f, true}, 9);
      // Logits beyond what a float holds: sums of exponentials are 0.
      for (bool table : {false, true})
        for (bool relative : {false, true})
          check({1, 2, tokens, width, 255, table, false, CodesCase::extreme, 5e37f, {1, false, true, false}, 0, relative}, 10);
    }
}

TEST_CASE("attention codes: windows, bias, regions and coded logits") {
  unsigned seed = 0;
  // 4 x 4, 7 x 7 and 12 x 12 tokens a window, and the edges of vectors and row blocks.
  for (int tokens : {1, 2, 5, 6, 7, 15, 16, 17, 32, 33, 49, 64, 65, 144})
    for (int width : {1, 3, 16, 20, 32, 33, 64, 65})
      for (int kind = 1; kind < 16; ++kind) {
        ++seed;
        if (tokens > 49 && seed % 4) continue;
        const Windows windows = {kind & 1 ? 3 : 1, (kind & 1) != 0, (kind & 2) != 0, (kind & 4) != 0};
        check({1 + int(seed % 2), 1 + int(seed % 3), tokens, width, seed % 2 ? 255 : 15, seed % 5 == 0, seed % 7 == 0,
               CodesCase::random, seed % 4 ? 2.0f : 20.0f, windows, kind & 8 ? (seed % 3 ? 0.1f : 0.01f) : 0.0f, seed % 2 == 0},
              seed);
      }
  const Windows all = {4, true, true, true};
  check({2, 4, 49, 32, 255, false, false, CodesCase::random, 2.0f, all}, 1);
  check({1, 2, 49, 32, 255, false, false, CodesCase::extreme, 1.0f, all}, 2);
  check({1, 2, 49, 32, 255, false, false, CodesCase::extreme, 1000.0f, all, 0.1f}, 3);
  check({1, 2, 16, 32, 255, true, true, CodesCase::equal, 1.0f, all}, 4);
}

TEST_CASE("attention codes: fine rows of y, of P and of both, by their place in the image") {
  unsigned seed = 0;
  const auto check_every = [&](int tokens, int width, const Windows& windows, int every) {
    for (int kind = 1; kind < 4; ++kind) {
      ++seed;
      CodesCase c = {2, 2, tokens, width, seed % 2 ? 255 : 15, true, true, CodesCase::random, 2.0f, windows};
      c.relative = seed % 4 < 2;
      c.fine_every = kind & 1 ? every : 0, c.fine_every_p = kind & 2 ? every : 0;
      check_fine(c, seed);
    }
  };
  for (int tokens : {1, 5, 6, 7, 33, 49})
    for (int width : {3, 32, 80})
      for (const Windows& windows : {Windows{}, Windows{3, true, true, true}})
        for (int every : {1, 3, 7, windows.count * tokens}) check_every(tokens, width, windows, every);
  check_every(197, 64, {}, 197);
  check_every(118, 32, {2, true, true, false}, 5);
  check_every(117, 64, {}, 16);
}

// All scores are 0, so logits are the bias: powers of two, whose weights are known.
TEST_CASE("attention codes: the bias decides, inside a region, row by row") {
  const int tokens = 4;
  const std::vector<uint8_t> q(2 * tokens, 128), k(2 * tokens, 77);
  // Window 0 is rows 1, 3, 5, 7 and window 1 the others, backwards. In window 1 the last token is alone.
  const std::vector<int32_t> rows = {1, 3, 5, 7, 6, 4, 2, 0};
  const std::vector<uint8_t> v = {150, 136, 140, 144, 160, 200, 170, 160}, regions = {0, 0, 0, 0, 1, 1, 1, 9};
  const float doubled = std::log(2.0f);
  std::vector<float> bias(tokens * tokens, 0.0f);
  for (int t = 0; t < tokens; ++t) bias[t * tokens] = doubled;  // the first key counts twice
  for (float step : {0.0f, doubled / 50}) {
    std::vector<uint8_t> y(2 * tokens);
    const float scale = 1.0f, p_inverse_step = 240.0f, output_scale = 1.0f / 240;
    AttentionCodes op = one_channel(q, k, v, y, &scale, &p_inverse_step, &output_scale);
    op.tokens = tokens, op.windows.count = 2, op.windows.rows = rows.data(), op.windows.bias = bias.data(),
    op.windows.regions = regions.data();
    op.logit_step = step, op.logit_inverse_step = step > 0 ? 1 / step : 0.0f;
    attention_codes_reference(op);
    // (2 * 136 + 144 + 200 + 160) / 5 = 155.2; (2 * 170 + 160 + 140) / 4; the lone token itself.
    CHECK(y == std::vector<uint8_t>{150, 155, 160, 155, 160, 155, 160, 155});
  }
}

TEST_CASE("attention codes: a code of logits saturates") {
  // Logits 0, 3 and 1000 of step 0.01 are the levels 0, 127 and 127: the last two count alike.
  const std::vector<uint8_t> q(3, 129), k = {128, 131, 228}, v = {0, 148, 168};
  std::vector<uint8_t> y(3);
  const float scale = 1.0f, p_inverse_step = 255.0f, output_scale = 1.0f / 255;
  AttentionCodes op = one_channel(q, k, v, y, &scale, &p_inverse_step, &output_scale);
  op.logit_step = 0.01f, op.logit_inverse_step = 100.0f;
  attention_codes_reference(op);
  // Weights exp(-1.27), 1, 1 over their sum, in 255ths: 31, 112 and 112.
  const int want = 128 + int(std::nearbyint((31 * -128 + 112 * 20 + 112 * 40) / 255.0));
  CHECK(y == std::vector<uint8_t>(3, static_cast<uint8_t>(want)));
}

// Logits 0, -ln 2 and -ln 4 are 1, 1/2 and 1/4 of the largest: in halves 2, 1 and 0 (half to even), in quarters 4, 2 and 1, which
// are divided by their sums.
TEST_CASE("attention codes: relative to the largest, codes add up to 1") {
  const std::vector<uint8_t> q(3, 129), k = {130, 129, 128}, v = {128 + 70, 128 + 7, 128 - 42};
  const float scale = std::log(2.0f), output_scale = 1.0f;
  for (const int parts : {2, 4}) {
    std::vector<uint8_t> y(3);
    const float p_inverse_step = float(parts);
    AttentionCodes op = one_channel(q, k, v, y, &scale, &p_inverse_step, &output_scale);
    op.relative = true;
    attention_codes_reference(op);
    // (2 * 70 + 7) / 3 = 49; (4 * 70 + 2 * 7 - 42) / 7 = 36.
    CHECK(y == std::vector<uint8_t>(3, static_cast<uint8_t>(128 + (parts == 2 ? 49 : 36))));
  }
}

// A step so large that even the largest weight is 0: the result is 0, and nothing is divided by 0.
TEST_CASE("attention codes: relative codes that are all 0") {
  const std::vector<uint8_t> q(3, 129), k = {130, 129, 128}, v = {198, 135, 86};
  const float scale = 1.0f, output_scale = 1.0f, p_inverse_step = 0.25f;
  std::vector<uint8_t> y(3);
  AttentionCodes op = one_channel(q, k, v, y, &scale, &p_inverse_step, &output_scale);
  op.relative = true;
  Aligned<uint8_t> scratch(attention_codes_scratch(3, 1));
  attention_codes_reference(op);
  CHECK(y == std::vector<uint8_t>(3, 128));
  for (const Implementation& implementation : implementations()) {
    INFO(implementation.name);
    y.assign(3, 0);
    implementation.run(op, 0, scratch.data());
    CHECK(y == std::vector<uint8_t>(3, 128));
  }
}

TEST_CASE("attention codes: equal keys give the mean of the values") {
  // All keys are alike, so P is 1 / 4 of 255 steps, 64 a key (63.75 rounded), and y = 4 * 64 * (v - 128) / 256.
  const int tokens = 4, width = 20;
  std::vector<uint8_t> q(tokens * width, 200), k(tokens * width, 90), v(tokens * width), y(tokens * width);
  for (int i = 0; i < tokens * width; ++i) v[i] = static_cast<uint8_t>(100 + i % width);
  const float logit_scale = 0.01f, p_inverse_step = 255.0f, output_scale = 1.0f / 256;
  AttentionCodes op = {1,
                       1,
                       tokens,
                       width,
                       q.data(),
                       k.data(),
                       v.data(),
                       width,
                       width,
                       width,
                       0,
                       0,
                       0,
                       &logit_scale,
                       &p_inverse_step,
                       &output_scale,
                       {0.0f, 0, 255, 0, nullptr},
                       y.data(),
                       width,
                       0,
                       {1.0f, -128, 127, 128, nullptr},
                       {},
                       0,
                       0,
                       false};
  attention_codes_reference(op);
  CHECK(y == v);
}

namespace {

struct F32Implementation {
  std::string name;
  void (*run)(const AttentionF32&, int, void*);  // null: the reference
};

// In double, with the error that float arithmetic in any order may make. A score's relative rounding errors are at most
// (head_width + 1) epsilon of the sum of its magnitudes; e has that, the subtraction's and exp's 2e-7; the sum z has at most
// tokens + 1 roundings, and so has the output.
void check(int images, int heads, int tokens, int width, float size, bool probabilities, unsigned seed,
           const Windows& windows = {}) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, size);
  const int all = heads * width, rows = windows.count * tokens;
  const ptrdiff_t stride = 3 * all + int(seed % 3), image_stride = rows * stride + int(seed % 4);
  Aligned<float> edge(images * image_stride);
  for (size_t i = 0; i < edge.size(); ++i) edge.data()[i] = normal(random);
  AttentionF32 op = {};
  op.images = images, op.heads = heads, op.tokens = tokens, op.head_width = width;
  op.q = edge.data(), op.k = op.q + all, op.v = op.k + all;
  op.q_stride = op.k_stride = op.v_stride = stride;
  op.q_image_stride = op.k_image_stride = op.v_image_stride = image_stride;
  std::vector<float> scale;
  for (int h = 0; h < heads; ++h) scale.push_back((1 + 0.5f * h) / std::sqrt(float(width)));
  op.scale = scale.data();
  op.y_stride = all + 1, op.y_image_stride = rows * op.y_stride;
  op.probabilities_stride = tokens + 2, op.probabilities_image_stride = heads * rows * op.probabilities_stride;
  const WindowTables tables(windows, heads, tokens, 2.0f, random);
  op.windows = tables.op;

  std::vector<F32Implementation> list = {{"reference", nullptr}};
  for (const Path& path : paths())
    if (path.runs) list.push_back({path.name, path.kernels->attention_f32});
  for (const F32Implementation& implementation : list) {
    INFO(implementation.name, ": ", images, " images, ", windows.count, " windows, ", heads, " heads, ", tokens,
         " tokens, head_width ", width);
    Guarded<float> y(images * op.y_image_stride), p(probabilities ? images * op.probabilities_image_stride : 0);
    op.y = y.data();
    op.probabilities = probabilities ? p.data() : nullptr;
    Aligned<uint8_t> scratch(attention_f32_scratch(tokens, width));
    if (implementation.run)
      for (int task = 0; task < attention_tasks(op); ++task) implementation.run(op, task, scratch.data());
    else
      attention_f32_reference(op);
    REQUIRE(y.untouched_around(images * rows, all, op.y_stride));
    if (probabilities) REQUIRE(p.untouched_around(images * heads * rows, tokens, op.probabilities_stride));

    std::vector<double> want(tokens);
    double worst_p = 0, worst_y = 0;  // error / bound
    for (int b = 0; b < images; ++b)
      for (int hw = 0; hw < heads * windows.count; ++hw)
        for (int t = 0; t < tokens; ++t) {
          const int h = hw % heads, w = hw / heads;
          const auto row_of = [&](int s) { return op.windows.rows ? op.windows.rows[w * tokens + s] : s; };
          const auto row = [&](const float* x, int s) { return x + b * image_stride + row_of(s) * stride + h * width; };
          const auto attended = [&](int s) {
            return !op.windows.regions || op.windows.regions[w * tokens + s] == op.windows.regions[w * tokens + t];
          };
          double most = -1e300, least = 1e300, magnitude = 0;
          for (int s = 0; s < tokens; ++s) {
            double sum = 0, sizes = 0;
            if (!attended(s)) {
              want[s] = -INFINITY;
              continue;
            }
            for (int c = 0; c < width; ++c) {
              const double product = double(row(op.q, t)[c]) * row(op.k, s)[c];
              sum += product, sizes += std::fabs(product);
            }
            const double bias = op.windows.bias ? op.windows.bias[(h * tokens + t) * tokens + s] : 0;
            want[s] = sum * scale[h] + bias;
            most = std::max(most, want[s]), least = std::min(least, want[s]);
            magnitude = std::max(magnitude, sizes * scale[h] + std::fabs(bias));
          }
          const double unit = FLT_EPSILON / 2;
          const double score = 2 * (width + 2) * unit * magnitude + (most - least) * unit;  // of s - m
          const double relative = 2 * (score + 2e-7) + (tokens + 3) * unit;
          double z = 0;
          for (double& x : want) z += x = std::exp(x - most);
          for (double& x : want) x /= z;
          if (probabilities)
            for (int s = 0; s < tokens; ++s) {
              const double got =
                  op.probabilities[b * op.probabilities_image_stride + (hw * tokens + t) * op.probabilities_stride + s];
              worst_p = std::max(worst_p, std::fabs(got - want[s]) / (relative * want[s] + 1e-37));
            }
          for (int c = 0; c < width; ++c) {
            double o = 0, sizes = 0;
            for (int s = 0; s < tokens; ++s) {
              const double product = want[s] * row(op.v, s)[c];
              o += product, sizes += std::fabs(product);
            }
            const double got = op.y[b * op.y_image_stride + row_of(t) * op.y_stride + h * width + c];
            worst_y = std::max(worst_y, std::fabs(got - o) / ((relative + (tokens + 1) * unit) * sizes + 1e-37));
          }
        }
    CHECK(worst_p <= 1.0);
    CHECK(worst_y <= 1.0);
  }
}

}  // namespace

TEST_CASE("attention in floats is within its bound") {
  unsigned seed = 0;
  for (int tokens : {1, 2, 5, 6, 7, 15, 16, 17, 33, 50, 64, 65, 100})
    for (int width : {1, 3, 16, 17, 20, 32, 48, 64, 65}) {
      ++seed;
      check(1 + int(seed % 2), 1 + int(seed % 3), tokens, width, seed % 4 ? 1.0f : 3.0f, seed % 3 != 0, seed);
    }
  check(1, 2, 197, 64, 1.0f, true, 99);
  for (int tokens : {1, 6, 16, 17, 49})
    for (int width : {3, 16, 20, 32})
      for (int kind = 1; kind < 8; ++kind) {
        ++seed;
        const Windows windows = {kind & 1 ? 4 : 1, (kind & 1) != 0, (kind & 2) != 0, (kind & 4) != 0};
        check(1 + int(seed % 2), 1 + int(seed % 3), tokens, width, 1.0f, seed % 3 != 0, seed, windows);
      }
}
