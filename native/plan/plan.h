// A lowered graph as data: kernel calls on views of four spaces. Mirrors PlanOp in lib/runtime/addon-types.ts, where the
// meaning of every field stands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ops/linear.h"
#include "ops/pointwise.h"
#include "plan/blob.h"

namespace fewbit {

enum class Space : uint8_t { arena, input, output, blob };

// Distances in bytes. Row r of image b starts at offset + b * image_stride + r * row_stride.
struct View {
  Space space;
  int blob;  // with Space::blob
  int64_t offset, row_stride, image_stride;
  int rows, width;
};

struct Constant {
  int blob;
  int64_t offset;
};

struct PlanEncoder {
  float inverse_step;
  int low, high, offset;
  std::optional<Constant> table, inverse_steps;
  int fine_every;  // 0 without fine rows
};

// What the bytes of a residual mean.
struct ResidualCode {
  Constant scale;
  int offset;
};

struct LinearCodesOp {
  View x, y;
  Constant weight;
  int weight_bits;
  Constant correction, scale, bias;
  Activation activation;
  std::optional<Constant> gain;
  std::optional<View> residual;
  std::optional<PlanEncoder> encode;
  std::optional<ResidualCode> residual_code;  // null: the residual is floats
  std::optional<Rounding> pre_activation;
  std::optional<Constant> pre_activation_factors;
};

struct LinearF32Op {
  View x, y;
  Constant weight, bias;
  Activation activation;
  std::optional<Constant> gain;
  std::optional<View> residual;
};

struct LayerNormOp {
  View x, y;
  Constant gamma, beta;
  float eps;
  std::optional<PlanEncoder> encode;
};

struct LayerNormCodesOp {
  View x, y;
  int offset;
  std::optional<Constant> shift;
  Constant gamma, beta;
  float eps;
  std::optional<PlanEncoder> encode;
};

// Index tables belong to the plan, so that nothing can change them after they were checked.
struct PlanWindows {
  int count;
  std::vector<int32_t> rows;  // empty, or [count][tokens]
  std::optional<Constant> bias, regions;
  // Bias with queries and keys exchanged, where kernels ask for it (Kernels::bias_by_key).
  std::optional<Blob> bias_by_key = {};
};

// Of the codes of logits; see AttentionCodes.
struct PlanLogitCode {
  float inverse_step, step;
};

struct AttentionCodesOp {
  View q, k, v, y;
  int heads;
  Constant logit_scale, p_inverse_step, output_scale;
  PlanEncoder encode_p, encode;
  std::optional<PlanWindows> windows;
  std::optional<PlanLogitCode> logit_code;
  bool relative;
};

struct AttentionF32Op {
  View q, k, v, y;
  int heads;
  Constant scale;
  std::optional<View> probabilities;
  std::optional<PlanWindows> windows;
};

struct PatchifyOp {
  View x, y;
  int channels, patch_height, patch_width;
  std::optional<PlanEncoder> encode;
};

struct PointwiseOp {
  View x, y;
  Function function;
  std::optional<Constant> gain;
  std::optional<View> factor, residual;
  std::optional<PlanEncoder> encode;
};

struct LayerNormGradientOp {
  View x, gradient, y;
  Constant gamma;
  float eps;
  std::optional<View> residual;
};

struct AttentionGradientOp {
  View q, k, v, gradient, y;
  int heads;
  Constant scale;
  std::optional<View> probabilities;
  std::optional<PlanWindows> windows;
};

struct ProductSumOp {
  View a, b;
  Constant sum;
};

struct CopyRowsOp {
  View x, y;
  bool codes;  // else floats
};

struct GatherOp {
  View x, y;
  int element_bytes;  // 1 for codes, 4 for floats
  int zero;
  std::vector<int32_t> rows;  // [rows of y][width of y / width of x]
};

// Of codes that are read.
struct PlanDecoder {
  int offset;
  float scale;
};

struct MeanOp {
  View x, y;
  std::optional<PlanDecoder> decode;
  std::optional<PlanEncoder> encode;
};

struct ObserveOp {
  View x;
  Constant state;
  int sample_rows;
  int64_t sample_stride;
};

struct PlanOp {
  std::string name;
  std::variant<LinearCodesOp, LinearF32Op, LayerNormOp, AttentionCodesOp, AttentionF32Op, PatchifyOp, CopyRowsOp, GatherOp,
               MeanOp, ObserveOp, PointwiseOp, LayerNormGradientOp, AttentionGradientOp, ProductSumOp, LayerNormCodesOp>
      op;
};

struct Plan {
  int batch;
  int64_t arena_bytes, input_bytes, output_bytes;  // the latter two for one image
  std::vector<PlanOp> ops;
  std::vector<std::shared_ptr<Blob>> blobs;
};

constexpr int kMaxBatch = 1 << 16;
constexpr int64_t kMaxPlanBytes = int64_t(1) << 40;

// The kind of an op, as plans call it: "linearCodes".
const char* op_kind(const PlanOp& op);

// Throws std::invalid_argument, naming op and field, unless every access of every op lies inside its space for `batch`
// images and every size is one that the kernels take. Kernels check nothing.
void validate(const Plan& plan);

}  // namespace fewbit
