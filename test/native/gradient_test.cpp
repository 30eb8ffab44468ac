// Every implementation of the gradients of attention, LayerNorm and weights against the references, which sum in double.
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "attention_windows.h"
#include "buffers.h"
#include "cpu/kernels.h"

using namespace fewbit;

namespace {

// |a - b| / |b| over rows [rows][width] at `stride`.
double distance(const float* a, const float* b, int rows, int width, ptrdiff_t stride) {
  double difference = 0, norm = 1e-60;
  for (int t = 0; t < rows; ++t)
    for (int i = 0; i < width; ++i) {
      const double want = b[t * stride + i], error = a[t * stride + i] - want;
      difference += error * error, norm += want * want;
    }
  return std::sqrt(difference / norm);
}

// A number of roundings of unit 6e-8 that no implementation reaches for sums as short as these, and far below the size of any
// term that could be forgotten.
constexpr double kTolerance = 1e-5;

// q, k, v and the gradient of two images side by side in one edge, with room behind rows and images.
struct AttentionCase {
  int images, heads, tokens, width;
  float size;
  bool probabilities;
  Windows windows = {};
};

void check(const AttentionCase& c, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, c.size);
  const int all = c.heads * c.width;
  const int image_rows = c.windows.count * c.tokens;
  const ptrdiff_t stride = 4 * all + int(seed % 3), image_stride = image_rows * stride + int(seed % 4);
  Aligned<float> edge(c.images * image_stride);
  for (size_t i = 0; i < edge.size(); ++i) edge.data()[i] = normal(random);
  AttentionGradient op = {};
  op.images = c.images, op.heads = c.heads, op.tokens = c.tokens, op.head_width = c.width;
  op.q = edge.data(), op.k = op.q + all, op.v = op.k + all, op.gradient = op.v + all;
  op.q_stride = op.k_stride = op.v_stride = op.gradient_stride = stride;
  op.q_image_stride = op.k_image_stride = op.v_image_stride = op.gradient_image_stride = image_stride;
  std::vector<float> scale;
  for (int h = 0; h < c.heads; ++h) scale.push_back((1 + 0.5f * h) / std::sqrt(float(c.width)));
  op.scale = scale.data();
  op.y_stride = 3 * all + 1, op.y_image_stride = image_rows * op.y_stride;
  op.probabilities_stride = c.tokens + 2, op.probabilities_image_stride = c.heads * image_rows * op.probabilities_stride;
  const WindowTables tables(c.windows, c.heads, c.tokens, 2.0f, random);
  op.windows = tables.op;

  const int rows = c.images * image_rows, kept = rows * c.heads;
  const auto result = [&](auto run) {
    struct Result {
      Guarded<float> y, p;
    } result{Guarded<float>(rows * op.y_stride), Guarded<float>(c.probabilities ? kept * op.probabilities_stride : 0)};
    op.y = result.y.data();
    op.probabilities = c.probabilities ? result.p.data() : nullptr;
    run();
    REQUIRE(result.y.untouched_around(rows, 3 * all, op.y_stride));
    if (c.probabilities) REQUIRE(result.p.untouched_around(kept, c.tokens, op.probabilities_stride));
    return result;
  };
  auto want = result([&] { attention_gradient_reference(op); });
  for (const Path& path : paths()) {
    if (!path.runs) continue;
    INFO(path.name, ": ", c.images, " images, ", c.windows.count, " windows, ", c.heads, " heads, ", c.tokens,
         " tokens, head_width ", c.width);
    Aligned<uint8_t> scratch(attention_gradient_scratch(c.tokens, c.width));
    auto got = result([&] {
      for (int task = attention_tasks(op) - 1; task >= 0; --task) path.kernels->attention_gradient(op, task, scratch.data());
    });
    // With one token P is 1 whatever the scores are: dq and dk are zero.
    for (int part = c.tokens == 1 ? 2 : 0; part < 3; ++part) {
      const float error = distance(got.y.data() + part * all, want.y.data() + part * all, rows, all, op.y_stride);
      INFO("part ", part);
      REQUIRE(error < kTolerance);
    }
    if (c.probabilities) REQUIRE(distance(got.p.data(), want.p.data(), kept, c.tokens, op.probabilities_stride) < kTolerance);
  }
}

void check_layernorm(int rows, int width, bool residual, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.3f, 2.0f);
  const ptrdiff_t stride = width + int(seed % 4);
  Aligned<float> x(rows * stride), gradient(rows * stride), other(rows * stride), gamma(width);
  for (const Aligned<float>* values : {&x, &gradient, &other, &gamma})
    for (size_t i = 0; i < values->size(); ++i) values->data()[i] = normal(random);
  LayerNormGradient op = {};
  op.rows = rows, op.width = width, op.eps = 1e-6f, op.gamma = gamma.data();
  op.x = x.data(), op.gradient = gradient.data();
  op.x_stride = op.gradient_stride = stride;
  if (residual) op.residual = other.data(), op.residual_stride = stride;
  op.y_stride = width + 3;
  Guarded<float> want(rows * op.y_stride);
  op.y = want.data();
  layernorm_gradient_reference(op);
  for (const Path& path : paths()) {
    if (!path.runs) continue;
    INFO(path.name, ": ", rows, " rows of ", width, std::string(residual ? " with a residual" : ""));
    Guarded<float> got(rows * op.y_stride);
    op.y = got.data();
    for (int task = layernorm_gradient_tasks(rows) - 1; task >= 0; --task) path.kernels->layernorm_gradient(op, task, nullptr);
    REQUIRE(got.untouched_around(rows, width, op.y_stride));
    // A width of 1 or 2 has a gradient of about zero: what is left of it is rounding.
    if (width > 2) REQUIRE(distance(got.data(), want.data(), rows, width, op.y_stride) < kTolerance);
  }
}

}  // namespace

TEST_CASE("attention gradient: all implementations follow the reference") {
  unsigned seed = 0;
  for (int tokens : {1, 2, 5, 6, 7, 11, 12, 13, 15, 16, 17, 33, 47, 48, 49, 50, 64, 65, 100})
    for (int width : {1, 3, 16, 17, 32, 48, 64, 65}) {
      ++seed;
      check({1 + int(seed % 2), 1 + int(seed % 3), tokens, width, seed % 4 ? 1.0f : 1.7f, seed % 3 != 0}, seed);
    }
  check({1, 2, 197, 64, 1.0f, true}, 99);
  for (int tokens : {2, 6, 16, 17, 49})
    for (int width : {3, 16, 20, 32})
      for (int kind = 1; kind < 8; ++kind) {
        ++seed;
        const Windows windows = {kind & 1 ? 4 : 1, (kind & 1) != 0, (kind & 2) != 0, (kind & 4) != 0};
        check({1 + int(seed % 2), 1 + int(seed % 3), tokens, width, 1.0f, seed % 3 != 0, windows}, seed);
      }
}

TEST_CASE("LayerNorm gradient: all implementations follow the reference") {
  unsigned seed = 0;
  for (int rows : {1, 2, 31, 32, 33, 65})
    for (int width : {1, 2, 15, 16, 17, 48, 100, 192, 769})
      for (bool residual : {false, true}) check_layernorm(rows, width, residual, ++seed);
}

TEST_CASE("LayerNorm gradient may take the place of its residual") {
  const int width = 40;
  std::vector<float> x(width), gradient(width), gamma(width, 1.5f), residual(width), want(width);
  for (int i = 0; i < width; ++i) x[i] = float(i % 7), gradient[i] = float(i % 5), residual[i] = float(i);
  LayerNormGradient op = {1,     width,       x.data(), width, gradient.data(), width, gamma.data(), 1e-6f, residual.data(),
                          width, want.data(), width};
  layernorm_gradient_reference(op);
  for (const Path& path : paths()) {
    if (!path.runs) continue;
    std::vector<float> place = residual;
    op.residual = op.y = place.data();
    path.kernels->layernorm_gradient(op, 0, nullptr);
    REQUIRE(distance(place.data(), want.data(), 1, width, width) < kTolerance);
  }
}

TEST_CASE("product_sum: all implementations add what the reference adds") {
  unsigned seed = 0;
  for (int rows : {1, 2, 7, 50})
    for (int a_width : {1, 5, 6, 7, 12, 47, 48, 49, 100})
      for (int b_width : {1, 15, 16, 17, 33, 48, 63, 64, 65, 130}) {
        std::mt19937 random(++seed);
        std::normal_distribution<float> normal;
        const ptrdiff_t a_stride = a_width + seed % 3, b_stride = b_width + seed % 5;
        Aligned<float> a((rows - 1) * a_stride + a_width), b((rows - 1) * b_stride + b_width);
        for (const Aligned<float>* values : {&a, &b})
          for (size_t i = 0; i < values->size(); ++i) values->data()[i] = normal(random);
        const auto result = [&](auto run) {
          Guarded<float> sum(size_t(a_width) * b_width);
          for (int i = 0; i < a_width * b_width; ++i) sum.data()[i] = float(i % 3);
          const ProductSum op = {rows, a_width, b_width, a.data(), a_stride, b.data(), b_stride, sum.data()};
          for (int times = 0; times < 2; ++times) run(op);
          REQUIRE(sum.untouched_around(a_width, b_width, b_width));
          return sum;
        };
        auto want = result(product_sum_reference);
        for (const Path& path : paths()) {
          if (!path.runs) continue;
          INFO(path.name, ": ", rows, " rows of ", a_width, " and ", b_width);
          auto got = result([&](const ProductSum& op) {
            for (int task = product_sum_tasks(a_width, b_width) - 1; task >= 0; --task)
              path.kernels->product_sum(op, task, nullptr);
          });
          REQUIRE(distance(got.data(), want.data(), a_width, b_width, b_width) < kTolerance);
        }
      }
}
