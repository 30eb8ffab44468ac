// Kernels that only move and change bytes, at the shapes of DeiT-Small and with rows of odd widths. Rows begin at multiples of 64
// bytes, as those of plans do.
#include "cuda/ops/gather.h"
#include "cuda/ops/group_codes.h"
#include "cuda/ops/layernorm.h"
#include "cuda/ops/mean.h"
#include "cuda/ops/patchify.h"
#include "cuda/ops/pointwise.h"
#include "report.h"

namespace fewbit::cuda {
namespace {

const char* const kModel = "DeiT-Small";
const char* const kOdd = "DeiT-Small, odd widths";
constexpr Encoder kEncode = {30.0f, -128, 127, 128, nullptr};

int64_t pitch(int width, size_t element) { return (width * element + 63) / 64 * 64 / element; }

// Operands of a launch: random numbers, and memory to write to.
class Operands {
 public:
  Matrix<const float> floats(int rows, int width) {
    const int64_t stride = pitch(width, sizeof(float));
    Aligned<float> host(rows * stride);
    for (size_t i = 0; i < host.size(); ++i) host.data()[i] = float(i % 251) - 100.0f;
    return {mirror_.up(host), stride, 0};
  }
  Matrix<const uint8_t> codes(int rows, int width, int modulus = 256) {
    const int64_t stride = pitch(width, 1);
    Aligned<uint8_t> host(rows * stride);
    for (size_t i = 0; i < host.size(); ++i) host.data()[i] = static_cast<uint8_t>(i * 37 % modulus);
    return {mirror_.up(host), stride, 0};
  }
  template <class T>
  Matrix<T> target(int rows, int width) {
    const int64_t stride = pitch(width, sizeof(T));
    return {mirror_.make<T>(rows * stride), stride, 0};
  }
  template <class T>
  T* up(T* host, size_t count) {
    return mirror_.up(host, count);
  }

 private:
  Mirror mirror_;
};

void layernorm(const char* model, int rows, int width) {
  const Subject subject{model, "LayerNorm", 8};
  if (!wanted(subject)) return;
  Operands operands;
  LayerNormParams p{};
  p.rows = p.image_rows = rows, p.width = width, p.eps = 1e-6f;
  p.x = operands.floats(rows, width);
  p.gamma = p.beta = operands.floats(1, width).data;
  p.y_codes = operands.target<uint8_t>(rows, width), p.encode = kEncode;
  report(subject, 0, 5.0 * rows * width + 4.0 * width, p, layernorm_launch(p, device()));
}

void layernorm_codes(const char* model, int rows, int width) {
  const Subject subject{model, "LayerNorm of codes", 8};
  if (!wanted(subject)) return;
  Operands operands;
  LayerNormCodesParams p{};
  p.rows = p.image_rows = rows, p.width = width, p.eps = 1e-6f, p.offset = 128;
  p.x = operands.codes(rows, width);
  p.shift = operands.codes(1, width, 4).data;
  p.gamma = p.beta = operands.floats(1, width).data;
  p.y_codes = operands.target<uint8_t>(rows, width), p.encode = kEncode;
  report(subject, 0, 2.0 * rows * width + 5.0 * width, p, layernorm_codes_launch(p, device()));
}

void pointwise(const char* model, int rows, int width) {
  const Subject subject{model, "GELU and addition", 8};
  if (!wanted(subject)) return;
  Operands operands;
  PointwiseParams p{};
  p.rows = p.image_rows = rows, p.width = width, p.function = Function::gelu;
  p.x = operands.floats(rows, width), p.residual = operands.floats(rows, width);
  p.y_codes = operands.target<uint8_t>(rows, width), p.encode = kEncode;
  report(subject, 0, 9.0 * rows * width, p, pointwise_launch(p, device()));
}

void patchify(const char* model, int size, int patch) {
  const Subject subject{model, "patches", 8};
  if (!wanted(subject)) return;
  const int images = 8, across = size / patch, columns = 3 * patch * patch, used = across * patch;
  Operands operands;
  PatchifyParams p{};
  p.images = images, p.channels = 3, p.height = p.width = size, p.patch_height = p.patch_width = patch;
  Aligned<float> pixels(size_t(images) * 3 * size * size);
  for (size_t i = 0; i < pixels.size(); ++i) pixels.data()[i] = float(i % 251) / 125.0f - 1.0f;
  p.image = operands.up(pixels.data(), pixels.size()), p.image_stride = int64_t(3) * size * size;
  p.y_codes = operands.target<uint8_t>(images * across * across, columns);
  p.y_codes.image_stride = across * across * p.y_codes.stride, p.encode = kEncode;
  report(subject, 0, 5.0 * images * 3 * used * used, p, patchify_launch(p, device()));
}

// Rows of 2 x 2 neighbours side by side.
void merge(const char* model, int images, int side, int width) {
  const Subject subject{model, "merged rows", 8};
  if (!wanted(subject)) return;
  const int count = side * side / 4;
  Operands operands;
  std::vector<int32_t> rows;
  for (int y = 0; y < side; y += 2)
    for (int x = 0; x < side; x += 2)
      for (int part = 0; part < 4; ++part) rows.push_back((y + part % 2) * side + x + part / 2);
  GatherParams p{images, count, 4, operands.up(rows.data(), rows.size()), width, {}, {}, 128};
  p.x = operands.codes(images * side * side, width), p.x.image_stride = side * side * p.x.stride;
  p.y = operands.target<uint8_t>(images * count, 4 * width), p.y.image_stride = count * p.y.stride;
  report(subject, 0, 2.0 * images * side * side * width + 4.0 * rows.size(), p, gather_launch(p, device()));
}

void mean(const char* model, int images, int rows, int width) {
  const Subject subject{model, "mean", 8};
  if (!wanted(subject)) return;
  Operands operands;
  MeanParams p{};
  p.images = images, p.rows = rows, p.width = width, p.x_offset = 128, p.scale = 0.01f;
  p.x_codes = operands.codes(images * rows, width), p.x_codes.image_stride = rows * p.x_codes.stride;
  p.y_codes = operands.target<uint8_t>(images, width), p.y_codes.image_stride = p.y_codes.stride, p.encode = kEncode;
  report(subject, 0, double(images) * (rows + 1) * width, p, mean_launch(p, device()));
}

// Half of the channels in 4 bits, a quarter each in 2 and 8.
void groups(const char* model, int images, int pixels, int width) {
  const int half = width / 2 / 4 * 4, quarter = half / 2 / 4 * 4;
  std::vector<CodeGroup> groups;
  int64_t bytes = 0;
  int first = 0;
  for (const auto& [count, bits] : {std::pair(half, 4), std::pair(quarter, 2), std::pair(width - half - quarter, 8)}) {
    groups.push_back({first, count, bits, bytes});
    first += count, bytes += group_bytes(pixels, count, bits);
  }
  const double moved = double(images) * (double(pixels) * width + bytes) + sizeof(CodeGroup) * groups.size();
  for (const bool packs : {true, false}) {
    const Subject subject{model, packs ? "packing of groups" : "unpacking of groups", 8};
    if (!wanted(subject)) continue;
    Operands operands;
    GroupCodesParams p{images, pixels, int(groups.size()), operands.up(groups.data(), groups.size()), {}, nullptr, bytes};
    const auto codes = operands.codes(images * pixels, width);
    p.codes = {const_cast<uint8_t*>(codes.data), codes.stride, pixels * codes.stride};
    p.packed = const_cast<uint8_t*>(operands.codes(1, int(images * bytes)).data);
    const auto launch = packs ? pack_groups_launch : unpack_groups_launch;
    report(subject, 0, moved, p, launch(p, half, device()));
  }
}

}  // namespace

void elementwise() {
  const int images = 8, tokens = 197, rows = images * tokens;
  layernorm("ViT-Base", rows, 768);
  for (const auto& [model, width] : {std::pair(kModel, 384), std::pair(kOdd, 391)}) {
    layernorm(model, rows, width);
    layernorm_codes(model, rows, width);
    pointwise(model, rows, width);
    mean(model, images, tokens, width);
    groups(model, images, tokens, width);
  }
  patchify(kModel, 224, 16);
  patchify(kOdd, 223, 15);
  merge(kModel, images, 14, 384);
  merge(kOdd, images, 14, 391);
}

}  // namespace fewbit::cuda
