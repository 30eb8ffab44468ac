// Pointwise ops, patches, copies and means on the device against the references, bit for bit.
#include <doctest/doctest.h>

#include <cstring>
#include <limits>

#include "cuda/ops/gather.h"
#include "cuda/ops/mean.h"
#include "cuda/ops/patchify.h"
#include "cuda/ops/pointwise.h"
#include "targets.h"

using namespace fewbit;
using namespace fewbit::cuda;

namespace {

constexpr Target kTargets[] = {Target::floats, Target::codes, Target::table};

bool pointwise_equal(const Layout& layout, Function function, unsigned parts, Target target) {
  std::mt19937 random(parts);
  const size_t count = layout.count();
  Aligned<float> x = random_floats(count, random, 3.0f), gain = random_floats(layout.width, random),
                 factor = random_floats(count, random), residual = random_floats(count, random);
  x.data()[count - 1] = -1e30f;
  // Which NaN a float target gets is nobody's promise.
  if (target != Target::floats) x.data()[0] = std::numeric_limits<float>::quiet_NaN();
  const bool has_gain = parts & 1, has_factor = parts & 2, has_residual = parts & 4;
  Output y(layout, target);
  for (int image = 0; image < layout.images; ++image) {
    const int64_t first = image * layout.image_stride();
    Pointwise op{};
    op.rows = layout.rows, op.width = layout.width, op.function = function;
    op.x = x.data() + first, op.gain = has_gain ? gain.data() : nullptr;
    op.factor = has_factor ? factor.data() + first : nullptr, op.residual = has_residual ? residual.data() + first : nullptr;
    op.x_stride = op.factor_stride = op.residual_stride = op.y_float_stride = op.y_codes_stride = layout.stride();
    y.set(&op, image);
    pointwise_reference(op);
  }
  Mirror mirror;
  PointwiseParams p{};
  p.rows = layout.images * layout.rows, p.image_rows = layout.rows, p.width = layout.width, p.function = function;
  p.x = layout.matrix<const float>(mirror.up(x));
  if (has_gain) p.gain = mirror.up(gain);
  if (has_factor) p.factor = layout.matrix<const float>(mirror.up(factor));
  if (has_residual) p.residual = layout.matrix<const float>(mirror.up(residual));
  y.set(&p, mirror);
  run(p, pointwise_launch(p, device()));
  return y.equal(mirror);
}

Patchify patches(int channels, int height, int width, int patch_height, int patch_width) {
  Patchify op{};
  op.channels = channels, op.height = height, op.width = width;
  op.patch_height = patch_height, op.patch_width = patch_width;
  return op;
}

bool patchify_equal(const Patchify& shape, int images, int gap, Target target) {
  std::mt19937 random(shape.width);
  const int patches = (shape.height / shape.patch_height) * (shape.width / shape.patch_width);
  const Layout layout{images, patches, shape.channels * shape.patch_height * shape.patch_width, gap};
  const int64_t image_floats = int64_t(shape.channels) * shape.height * shape.width;
  const Aligned<float> pixels = random_floats(images * image_floats, random);
  Output y(layout, target);
  for (int image = 0; image < images; ++image) {
    Patchify op = shape;
    op.image = pixels.data() + image * image_floats;
    op.y_float_stride = op.y_codes_stride = layout.stride();
    y.set(&op, image);
    patchify_reference(op);
  }
  Mirror mirror;
  PatchifyParams p{images,
                   shape.channels,
                   shape.height,
                   shape.width,
                   shape.patch_height,
                   shape.patch_width,
                   mirror.up(pixels),
                   image_floats,
                   {},
                   {},
                   {}};
  y.set(&p, mirror);
  run(p, patchify_launch(p, device()));
  return y.equal(mirror);
}

bool gather_equal(int images, int count, int parts, int bytes, int gap) {
  std::mt19937 random(count * 31 + bytes);
  const int x_rows = 1 + int(random() % 60);
  const Layout from{images, x_rows, bytes, gap}, to{images, count, parts * bytes, gap};
  const Aligned<uint8_t> x = random_bytes(from.count(), random);
  Aligned<int32_t> rows(count * parts);
  for (size_t i = 0; i < rows.size(); ++i) rows.data()[i] = int(random() % (x_rows + 1)) - 1;
  Guarded<uint8_t> want(to.count() + 4), got(to.count() + 4);
  for (int image = 0; image < images; ++image) {
    const Gather op = {count,
                       parts,
                       rows.data(),
                       bytes,
                       x.data() + image * from.image_stride(),
                       from.stride(),
                       want.data() + image * to.image_stride(),
                       to.stride(),
                       128};
    for (int task = 0; task < gather_tasks(count); ++task) gather_reference(op, task);
  }
  Mirror mirror;
  const GatherParams p = {
      images, count, parts, mirror.up(rows), bytes, from.matrix<const uint8_t>(mirror.up(x)), to.matrix(mirror.up(got)), 128};
  run(p, gather_launch(p, device()));
  mirror.down(got);
  return got.bytes() == want.bytes();
}

bool mean_equal(const Layout& layout, bool codes, Target target) {
  std::mt19937 random(layout.width);
  const Aligned<float> floats = random_floats(layout.count(), random);
  const Aligned<uint8_t> bytes = random_bytes(layout.count(), random);
  const Layout means{layout.images, 1, layout.width, 3};
  Output y(means, target);
  for (int image = 0; image < layout.images; ++image) {
    Mean op{};
    op.rows = layout.rows, op.width = layout.width;
    op.x_float = codes ? nullptr : floats.data() + image * layout.image_stride();
    op.x_codes = codes ? bytes.data() + image * layout.image_stride() : nullptr;
    op.x_float_stride = op.x_codes_stride = layout.stride();
    op.x_offset = 128, op.scale = 0.037f / float(layout.rows);
    y.set(&op, image);
    for (int task = 0; task < mean_tasks(layout.width); ++task) mean_reference(op, task);
  }
  Mirror mirror;
  MeanParams p{};
  p.images = layout.images, p.rows = layout.rows, p.width = layout.width;
  if (codes)
    p.x_codes = layout.matrix<const uint8_t>(mirror.up(bytes));
  else
    p.x_float = layout.matrix<const float>(mirror.up(floats));
  p.x_offset = 128, p.scale = 0.037f / float(layout.rows);
  y.set(&p, mirror);
  run(p, mean_launch(p, device()));
  return y.equal(mirror);
}

}  // namespace

TEST_CASE("pointwise gives the reference's bits") {
  for (const Layout& layout :
       {Layout{1, 1, 1, 0}, Layout{1, 3, 4, 0}, Layout{2, 5, 64, 4}, Layout{3, 2, 65, 3}, Layout{1, 9, 260, 0}})
    for (Function function : {Function::identity, Function::gelu, Function::gelu_slope})
      for (unsigned parts = 0; parts < 8; ++parts)
        for (Target target : kTargets) {
          INFO(layout.images, " x ", layout.rows, " x ", layout.width, ", function ", int(function), ", parts ", parts);
          CHECK(pointwise_equal(layout, function, parts, target));
        }
}

TEST_CASE("patches are the reference's bytes, a remainder of the image is ignored") {
  for (const Patchify& shape :
       {patches(3, 32, 32, 4, 4), patches(1, 28, 28, 7, 7), patches(3, 16, 48, 16, 16), patches(2, 9, 11, 2, 3),
        patches(3, 10, 18, 4, 8), patches(1, 1, 1, 1, 1), patches(3, 70, 90, 60, 72)})
    for (int images : {1, 2})
      for (int gap : {0, 5, 16})
        for (Target target : kTargets) {
          INFO(images, " images of ", shape.height, " x ", shape.width, ", gap ", gap, ", target ", int(target));
          CHECK(patchify_equal(shape, images, gap, target));
        }
}

TEST_CASE("gather copies rows as they are, and zeros for -1") {
  for (int count : {1, 2, 63, 130})
    for (int parts : {1, 3, 4})
      for (int bytes : {1, 4, 20, 64, 100})
        for (int gap : {0, 3, 16}) CHECK(gather_equal(1 + count % 2, count, parts, bytes, gap));
}

TEST_CASE("the mean is the reference's bits") {
  for (const Layout& layout :
       {Layout{1, 1, 1, 0}, Layout{2, 15, 31, 1}, Layout{1, 16, 32, 0}, Layout{3, 50, 33, 3}, Layout{1, 197, 96, 0}})
    for (bool codes : {false, true})
      for (Target target : kTargets) {
        INFO(layout.images, " x ", layout.rows, " x ", layout.width, ", target ", int(target));
        CHECK(mean_equal(layout, codes, target));
      }
}
