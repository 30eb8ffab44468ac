// Linear layers and attention of floats on the device against the references. Sums may run in any order, so what is compared
// lies within the error that n additions of float32 can make: n * 2^-24 times the sum of magnitudes, and a few roundings.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "attention_windows.h"
#include "cuda/ops/attention_f32.h"
#include "cuda/ops/linear_f32.h"
#include "targets.h"

using namespace fewbit;
using namespace fewbit::cuda;

namespace {

constexpr float kEpsilon = 6e-8f;

// The largest difference, in units of `bound`; infinite when a guard was written.
float distance(const Layout& layout, Guarded<float>& want, Guarded<float>& got, float bound) {
  float most = 0;
  for (int64_t i = -32; i < layout.count() + 32; ++i) {
    const int64_t column = i < 0 ? -1 : i % layout.image_stride() % layout.stride();
    const bool inside =
        i >= 0 && i < layout.count() && column < layout.width && i % layout.image_stride() < layout.rows * layout.stride();
    const float a = want.data()[i], b = got.data()[i];
    if (!inside && std::memcmp(&a, &b, sizeof a) != 0) return INFINITY;
    if (inside) most = std::fmax(most, std::isnan(b) ? INFINITY : std::fabs(a - b) / bound);
  }
  return most;
}

float linear_distance(const Layout& rows, int outputs, unsigned parts) {
  std::mt19937 random(outputs);
  const int inputs = rows.width, padded = (outputs + 15) / 16 * 16;
  const Layout y_layout{rows.images, rows.rows, outputs, rows.gap};
  const Aligned<float> x = random_floats(rows.count(), random), bias = random_floats(padded, random),
                       gain = random_floats(padded, random), residual = random_floats(y_layout.count(), random);
  Aligned<float> weight = random_floats(size_t(padded) * inputs, random);
  const bool gelu = parts & 1, has_gain = parts & 2, has_residual = parts & 4;
  Guarded<float> want(y_layout.count()), got(y_layout.count());
  for (int image = 0; image < rows.images; ++image) {
    const int64_t first = image * y_layout.image_stride();
    LinearF32 op{};
    op.rows = rows.rows, op.inputs = inputs, op.outputs = outputs;
    op.x = x.data() + image * rows.image_stride(), op.x_stride = rows.stride();
    op.weight = weight.data(), op.bias = bias.data(), op.activation = gelu ? Activation::gelu : Activation::none;
    op.gain = has_gain ? gain.data() : nullptr, op.residual = has_residual ? residual.data() + first : nullptr;
    op.residual_stride = op.y_stride = y_layout.stride(), op.y = want.data() + first;
    linear_f32_reference(op);
  }
  Mirror mirror;
  LinearF32Params p{};
  p.rows = rows.images * rows.rows, p.image_rows = rows.rows, p.inputs = inputs, p.outputs = outputs;
  p.x = rows.matrix<const float>(mirror.up(x));
  p.weight = mirror.up(weight), p.bias = mirror.up(bias), p.activation = gelu ? Activation::gelu : Activation::none;
  if (has_gain) p.gain = mirror.up(gain);
  if (has_residual) p.residual = y_layout.matrix<const float>(mirror.up(residual));
  p.y = y_layout.matrix(mirror.up(got));
  run(p, linear_f32_launch(p, device()));
  mirror.down(got);
  // Inputs and weights of deviation 1; gelu's polynomial and the gain multiply what is there.
  return distance(y_layout, want, got, float(inputs + 8) * (std::sqrt(float(inputs)) + 4.0f) * 8 * kEpsilon);
}

struct Heads {
  int images, heads, tokens, head_width;
  Windows windows;
};

// Of the outputs and of the probabilities that are kept.
// in_workspace: as for more tokens than shared memory holds.
float attention_distance(const Heads& c, int gap, bool in_workspace) {
  std::mt19937 random(c.tokens + c.head_width);
  const int rows = c.windows.count * c.tokens, width = c.heads * c.head_width;
  const Layout edge{c.images, rows, 3 * width, gap}, target{c.images, rows, width, gap},
      kept{c.images, rows * c.heads, c.tokens, gap};
  const Aligned<float> qkv = random_floats(edge.count(), random);
  std::vector<float> scale(c.heads);
  for (int h = 0; h < c.heads; ++h) scale[h] = (1 + 0.1f * float(h)) / std::sqrt(float(c.head_width));
  const WindowTables tables(c.windows, c.heads, c.tokens, 2.0f, random);
  Guarded<float> want(target.count()), got(target.count()), want_kept(kept.count()), got_kept(kept.count());
  AttentionF32 op{};
  op.images = c.images, op.heads = c.heads, op.tokens = c.tokens, op.head_width = c.head_width;
  op.q = qkv.data(), op.k = op.q + width, op.v = op.q + 2 * width;
  op.q_stride = op.k_stride = op.v_stride = edge.stride();
  op.q_image_stride = op.k_image_stride = op.v_image_stride = edge.image_stride();
  op.scale = scale.data(), op.windows = tables.op;
  op.y = want.data(), op.y_stride = target.stride(), op.y_image_stride = target.image_stride();
  op.probabilities = want_kept.data(), op.probabilities_stride = kept.stride(),
  op.probabilities_image_stride = kept.image_stride();
  attention_f32_reference(op);

  Mirror mirror;
  AttentionF32Params p{};
  p.images = c.images, p.heads = c.heads, p.tokens = c.tokens, p.head_width = c.head_width;
  const float* on_device = mirror.up(qkv);
  p.q = edge.matrix(on_device), p.k = edge.matrix(on_device + width), p.v = edge.matrix(on_device + 2 * width);
  p.scale = mirror.up(scale.data(), scale.size());
  p.y = target.matrix(mirror.up(got));
  p.probabilities = kept.matrix(mirror.up(got_kept));
  p.windows.count = tables.op.count;
  p.windows.rows = mirror.up(tables.op.rows, rows);
  p.windows.bias = mirror.up(tables.op.bias, size_t(c.heads) * c.tokens * c.tokens);
  p.windows.regions = mirror.up(tables.op.regions, rows);
  Launch launch = attention_f32_launch(p, device());
  if (in_workspace) {
    launch.kernel = "fewbit_attention_f32_long", launch.shared = 0;
    p.workspace = mirror.make<uint8_t>(size_t(launch.grid[0]) * kAttentionF32Queries * c.tokens * sizeof(float));
  }
  run(p, launch);
  mirror.down(got), mirror.down(got_kept);
  // A logit is a sum of head_width products of deviation 1; exponentials carry its error on, and their sum adds one a key.
  const float bound = 8 * (float(c.head_width + 4) * 4 * std::sqrt(float(c.head_width)) + float(c.tokens)) * kEpsilon;
  return std::fmax(distance(target, want, got, bound), distance(kept, want_kept, got_kept, bound));
}

}  // namespace

TEST_CASE("attention of floats is the reference within the rounding of its sums") {
  for (int tokens : {1, 2, 31, 32, 33, 65})
    for (int head_width : {1, 16, 33, 64})
      for (const Windows& windows : {Windows{}, Windows{3, true, true, true}, Windows{2, true, false, true}}) {
        INFO(tokens, " tokens, heads of ", head_width, ", ", windows.count, " windows");
        CHECK(attention_distance({1 + tokens % 2, 1 + tokens % 3, tokens, head_width, windows}, tokens % 4, head_width == 33) <
              1);
      }
}

TEST_SUITE_BEGIN("host");

TEST_CASE("attention of more tokens than shared memory holds asks for a workspace") {
  AttentionF32Params p{};
  p.images = 3, p.heads = 2, p.head_width = 8, p.tokens = 3072;
  CHECK(attention_f32_workspace(p, {}).bytes == 0);
  CHECK(attention_f32_launch(p, {}).shared == 48 << 10);
  p.tokens = 3073;
  const Launch launch = attention_f32_launch(p, {});
  CHECK(launch.shared == 0);
  CHECK(std::string(launch.kernel) == "fewbit_attention_f32_long");
  CHECK(attention_f32_workspace(p, {}).bytes == size_t(launch.grid[0]) * 4 * 3073 * sizeof(float));
}

TEST_SUITE_END();

TEST_CASE("the linear layer of floats is the reference within the rounding of its sums") {
  for (int rows : {1, 3, 63, 64, 65})
    for (int inputs : {1, 15, 16, 17, 100})
      for (int outputs : {1, 15, 16, 17, 64, 70})
        for (unsigned parts : {0u, 7u, unsigned(rows + inputs) % 8}) {
          INFO(rows, " x ", inputs, " x ", outputs, ", parts ", parts);
          CHECK(linear_distance({1 + inputs % 2, rows, inputs, rows % 3}, outputs, parts) < 1);
        }
}
