// Every implementation of attention against the reference. Codes: equal bits. Floats: a derived bound.
#include <doctest/doctest.h>

#include <cfloat>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "buffers.h"
#include "cpu/kernels.h"
#include "ops/numeric.h"

using namespace fewbit;

namespace fewbit::emulated {
void attention_codes_amx(const AttentionCodes& op, int task, void* scratch);
}

namespace {

// The edges of vectors, quads, row blocks and tiles, and the token counts of real models.
const int kTokens[] = {1, 2, 3, 4, 5, 6, 7, 12, 15, 16, 17, 31, 32, 33, 47, 50, 63, 64, 65, 66, 127, 128, 129};
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
};

class CodesFixture {
 public:
  CodesFixture(const CodesCase& c, unsigned seed) : c_(c), random_(seed) {
    const int width = c.heads * c.head_width;
    // q, k and v as columns of one edge in every other case, else apart; image strides with room behind the rows.
    const bool joint = seed % 2 == 0;
    stride_ = joint ? 3 * width + int(seed % 7) : width + int(seed % 5);
    image_stride_ = c.tokens * stride_ + int(seed % 11);
    const size_t size = size_t(c.images - 1) * image_stride_ + (c.tokens - 1) * stride_ + (joint ? 3 : 1) * width;
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
      output_scale_.push_back(1.0f / (40.0f * c.p_levels) * (1 + 0.2f * h));
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
    op_.encode_p = {0.0f, 0, c.p_levels, 0, c.p_table ? p_table_.data() : nullptr};
    op_.encode = {30.0f, -128, 127, 128, c.y_table ? y_table_.data() : nullptr};
    op_.y_stride = width + 3;
    op_.y_image_stride = c.tokens * op_.y_stride + 5;
  }

  template <class Run>
  std::vector<uint8_t> result(Run run) {
    Guarded<uint8_t> y(c_.images * op_.y_image_stride);
    op_.y = y.data();
    run(op_);
    return y.bytes();
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
  AttentionCodes op_;
};

void check(const CodesCase& c, unsigned seed) {
  CodesFixture fixture(c, seed);
  const std::vector<uint8_t> want = fixture.result(attention_codes_reference);
  for (const Implementation& implementation : implementations()) {
    INFO(implementation.name, ": ", c.images, " images, ", c.heads, " heads, ", c.tokens, " tokens, head_width ", c.head_width,
         ", p levels ", c.p_levels, std::string(c.p_table ? ", p table" : ""), std::string(c.y_table ? ", y table" : ""),
         ", bytes ", int(c.bytes), ", seed ", seed);
    const bool equal = fixture.result(implementation) == want;
    REQUIRE(equal);
  }
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
                       {1.0f, -128, 127, 128, nullptr}};
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
void check(int images, int heads, int tokens, int width, float size, bool probabilities, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, size);
  const int all = heads * width;
  const ptrdiff_t stride = 3 * all + int(seed % 3), image_stride = tokens * stride + int(seed % 4);
  Aligned<float> edge(images * image_stride);
  for (size_t i = 0; i < edge.size(); ++i) edge.data()[i] = normal(random);
  AttentionF32 op = {};
  op.images = images, op.heads = heads, op.tokens = tokens, op.head_width = width;
  op.q = edge.data(), op.k = op.q + all, op.v = op.k + all;
  op.q_stride = op.k_stride = op.v_stride = stride;
  op.q_image_stride = op.k_image_stride = op.v_image_stride = image_stride;
  op.scale = 1.0f / std::sqrt(float(width));
  op.y_stride = all + 1, op.y_image_stride = tokens * op.y_stride;
  op.probabilities_stride = tokens + 2, op.probabilities_image_stride = heads * tokens * op.probabilities_stride;

  std::vector<F32Implementation> list = {{"reference", nullptr}};
  for (const Path& path : paths())
    if (path.runs) list.push_back({path.name, path.kernels->attention_f32});
  for (const F32Implementation& implementation : list) {
    INFO(implementation.name, ": ", images, " images, ", heads, " heads, ", tokens, " tokens, head_width ", width);
    Guarded<float> y(images * op.y_image_stride), p(probabilities ? images * op.probabilities_image_stride : 0);
    op.y = y.data();
    op.probabilities = probabilities ? p.data() : nullptr;
    Aligned<uint8_t> scratch(attention_f32_scratch(tokens, width));
    if (implementation.run)
      for (int task = 0; task < attention_tasks(op); ++task) implementation.run(op, task, scratch.data());
    else
      attention_f32_reference(op);
    REQUIRE(y.untouched_around(images * tokens, all, op.y_stride));
    if (probabilities) REQUIRE(p.untouched_around(images * heads * tokens, tokens, op.probabilities_stride));

    std::vector<double> want(tokens);
    double worst_p = 0, worst_y = 0;  // error / bound
    for (int b = 0; b < images; ++b)
      for (int h = 0; h < heads; ++h)
        for (int t = 0; t < tokens; ++t) {
          const auto row = [&](const float* x, int s) { return x + b * image_stride + s * stride + h * width; };
          double most = -1e300, least = 1e300, magnitude = 0;
          for (int s = 0; s < tokens; ++s) {
            double sum = 0, sizes = 0;
            for (int c = 0; c < width; ++c) {
              const double product = double(row(op.q, t)[c]) * row(op.k, s)[c];
              sum += product, sizes += std::fabs(product);
            }
            want[s] = sum * op.scale;
            most = std::max(most, want[s]), least = std::min(least, want[s]);
            magnitude = std::max(magnitude, sizes * op.scale);
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
                  op.probabilities[b * op.probabilities_image_stride + (h * tokens + t) * op.probabilities_stride + s];
              worst_p = std::max(worst_p, std::fabs(got - want[s]) / (relative * want[s] + 1e-37));
            }
          for (int c = 0; c < width; ++c) {
            double o = 0, sizes = 0;
            for (int s = 0; s < tokens; ++s) {
              const double product = want[s] * row(op.v, s)[c];
              o += product, sizes += std::fabs(product);
            }
            const double got = op.y[b * op.y_image_stride + t * op.y_stride + h * width + c];
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
}
