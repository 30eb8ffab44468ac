// What each op of a plan has to keep to.
#include "plan/plan.h"

#include "ops/attention.h"
#include "ops/layernorm.h"
#include "ops/observe.h"
#include "plan/checker.h"

namespace fewbit {
namespace {

void check(const Checker& c, const LinearCodesOp& op) {
  c.operand("x", op.x);
  c.target("y", op.y, op.encode, Checker::columns);
  c.same_shape("y", op.y, op.x.rows, op.y.width);
  c.residual(op.residual, op.y, op.residual_code ? code : f32);
  c.require(op.weight_bits >= 2 && op.weight_bits <= 8, "weightBits", "must be 2..8, not " + std::to_string(op.weight_bits));
  c.constant("weight", op.weight, packed_bytes(op.y.width, op.x.width, op.weight_bits));
  const int64_t padded = round_up(op.y.width, 16) * 4;
  c.constant("correction", op.correction, padded);
  c.constant("scale", op.scale, padded);
  c.constant("bias", op.bias, padded);
  if (op.gain) c.constant("gain", *op.gain, padded);
  if (op.residual_code) {
    c.require(op.residual.has_value(), "residualCode", "belongs to a residual, which is missing");
    c.constant("residualCode.scale", op.residual_code->scale, padded);
    c.require(op.residual_code->offset == 0 || op.residual_code->offset == 128, "residualCode", "offset must be 0 or 128");
  }
  if (op.pre_activation) {
    const Rounding& rounding = *op.pre_activation;
    c.require(
        rounding.step > 0 && std::isfinite(rounding.step) && rounding.inverse_step > 0 && std::isfinite(rounding.inverse_step),
        "preActivation", "steps must be positive and finite");
    c.require(rounding.low <= rounding.high && rounding.low >= -128 && rounding.high <= 255, "preActivation",
              "levels must lie in -128..255");
  }
  if (op.pre_activation_factors) {
    c.require(op.pre_activation.has_value(), "preActivationFactors", "belong to a preActivation, which is missing");
    c.constant("preActivationFactors", *op.pre_activation_factors, padded);
  }
}

void check(const Checker& c, const LinearF32Op& op) {
  c.view("x", op.x, read, f32);
  c.target("y", op.y, std::nullopt);
  c.same_shape("y", op.y, op.x.rows, op.y.width);
  c.residual(op.residual, op.y);
  const int64_t padded = round_up(op.y.width, 16) * 4;
  c.require(padded <= kMaxPlanBytes / op.x.width, "weight", "is too large");
  c.constant("weight", op.weight, padded * op.x.width);
  c.constant("bias", op.bias, padded);
  if (op.gain) c.constant("gain", *op.gain, padded);
}

// What LayerNorm of floats and of codes share.
template <class Op>
void check_normalised(const Checker& c, const Op& op) {
  c.target("y", op.y, op.encode, Checker::columns);
  c.same_shape("y", op.y, op.x.rows, op.x.width);
  c.constant("gamma", op.gamma, int64_t(op.x.width) * 4);
  c.constant("beta", op.beta, int64_t(op.x.width) * 4);
  c.require(op.eps >= 0 && std::isfinite(op.eps), "eps", "must be finite and not negative");
}

void check(const Checker& c, const LayerNormOp& op) {
  c.view("x", op.x, read, f32);
  check_normalised(c, op);
}

void check(const Checker& c, const LayerNormCodesOp& op) {
  c.view("x", op.x, read, code);
  c.require(op.x.width <= kLayerNormWidth, "x", "is wider than " + std::to_string(kLayerNormWidth));
  c.require(op.offset == 0 || op.offset == 128, "offset", "must be 0 or 128");
  if (op.shift) c.constant("shift", *op.shift, op.x.width);
  check_normalised(c, op);
}

void check(const Checker& c, const AttentionCodesOp& op) {
  c.view("q", op.q, read, code);
  c.view("k", op.k, read, code);
  c.view("v", op.v, read, code);
  c.view("y", op.y, write, code);
  c.encoder("encode", op.encode, 0, op.y.rows);
  c.heads(op.heads, op.q, op.k, op.v, op.y, op.windows);
  c.encoder("encodeP", op.encode_p, 0, op.q.rows);
  c.require(op.encode_p.offset == 0, "encodeP", "offset must be 0");
  const int64_t bytes = int64_t(op.heads) * 4;
  c.constant("logitScale", op.logit_scale, bytes);
  c.constant("pInverseStep", op.p_inverse_step, bytes);
  c.constant("outputScale", op.output_scale, bytes);
  if (!op.logit_code) return;
  const auto& [inverse_step, step] = *op.logit_code;
  c.require(inverse_step > 0 && std::isfinite(inverse_step), "logitCode", "inverseStep must be positive and finite");
  c.require(step > 0 && std::isfinite(step), "logitCode", "step must be positive and finite");
}

void check(const Checker& c, const AttentionF32Op& op) {
  c.view("q", op.q, read, f32);
  c.view("k", op.k, read, f32);
  c.view("v", op.v, read, f32);
  c.view("y", op.y, write, f32);
  const int tokens = c.heads(op.heads, op.q, op.k, op.v, op.y, op.windows);
  c.constant("scale", op.scale, int64_t(op.heads) * 4);
  c.probabilities(op.probabilities, op.q, op.heads, tokens);
}

void check(const Checker& c, const PatchifyOp& op) {
  c.require(op.x.row_stride == int64_t(op.x.width) * 4, "x", "rowStride must be 4 times its width: an image has no gaps");
  c.view("x", op.x, read, f32);
  c.target("y", op.y, op.encode);
  c.require(op.channels >= 1 && op.x.rows % op.channels == 0, "channels",
            "must divide the rows of x (" + std::to_string(op.x.rows) + ")");
  const int height = op.x.rows / op.channels;
  c.require(op.patch_height >= 1 && op.patch_height <= height, "patchHeight", "must be 1.." + std::to_string(height));
  c.require(op.patch_width >= 1 && op.patch_width <= op.x.width, "patchWidth", "must be 1.." + std::to_string(op.x.width));
  // None of the products is larger than the number of elements of x.
  c.require(int64_t(op.x.rows) * op.x.width <= INT_MAX, "x", "has too many elements");
  c.same_shape("y", op.y, (height / op.patch_height) * (op.x.width / op.patch_width),
               op.channels * op.patch_height * op.patch_width);
}

void check(const Checker& c, const PointwiseOp& op) {
  c.view("x", op.x, read, f32);
  c.target("y", op.y, op.encode);
  c.same_shape("y", op.y, op.x.rows, op.x.width);
  if (op.gain) c.constant("gain", *op.gain, int64_t(op.x.width) * 4);
  c.optional("factor", op.factor, op.y);
  c.residual(op.residual, op.y);
}

void check(const Checker& c, const LayerNormGradientOp& op) {
  c.view("x", op.x, read, f32);
  c.view("gradient", op.gradient, read, f32);
  c.view("y", op.y, write, f32);
  c.same_shape("gradient", op.gradient, op.x.rows, op.x.width);
  c.same_shape("y", op.y, op.x.rows, op.x.width);
  c.constant("gamma", op.gamma, int64_t(op.x.width) * 4);
  c.require(op.eps >= 0 && std::isfinite(op.eps), "eps", "must be finite and not negative");
  c.residual(op.residual, op.y);
}

void check(const Checker& c, const AttentionGradientOp& op) {
  c.view("q", op.q, read, f32);
  c.view("k", op.k, read, f32);
  c.view("v", op.v, read, f32);
  c.view("gradient", op.gradient, read, f32);
  c.view("y", op.y, write, f32);
  const int tokens = c.heads(op.heads, op.q, op.k, op.v, op.gradient, op.windows);
  c.same_shape("y", op.y, op.q.rows, 3 * op.q.width);
  c.constant("scale", op.scale, int64_t(op.heads) * 4);
  c.probabilities(op.probabilities, op.q, op.heads, tokens);
}

void check(const Checker& c, const ProductSumOp& op) {
  c.view("a", op.a, read, f32);
  c.view("b", op.b, read, f32);
  c.same_shape("b", op.b, op.a.rows, op.b.width);
  c.require(int64_t(op.a.width) * op.b.width <= INT_MAX, "a", "is too wide");
  c.state("sum", op.sum, int64_t(op.a.width) * op.b.width * 4);
}

void check(const Checker& c, const CopyRowsOp& op) {
  c.view("x", op.x, read, op.codes ? code : f32);
  c.view("y", op.y, write, op.codes ? code : f32);
  c.same_shape("y", op.y, op.x.rows, op.x.width);
}

void check(const Checker& c, const GatherOp& op) {
  c.require(op.element_bytes == code || op.element_bytes == f32, "elementBytes", "must be 1 or 4");
  c.require(op.zero == 0 || (op.zero == 128 && op.element_bytes == code), "zero", "must be 0, or 128 for codes");
  c.view("x", op.x, read, Element(op.element_bytes));
  c.view("y", op.y, write, Element(op.element_bytes));
  c.require(op.y.width % op.x.width == 0, "y", "must be whole rows of x wide (" + std::to_string(op.x.width) + ")");
  const size_t parts = op.y.width / op.x.width;
  c.require(op.rows.size() / parts == size_t(op.y.rows) && op.rows.size() % parts == 0, "rows",
            "must name " + std::to_string(parts) + " rows of x for each of y");
  c.rows_inside("rows", op.rows, op.x.rows);
}

void check(const Checker& c, const MeanOp& op) {
  c.view("x", op.x, read, op.decode ? code : f32);
  c.target("y", op.y, op.encode);
  c.same_shape("y", op.y, 1, op.x.width);
  c.require(op.x.rows <= INT_MAX / 255, "x", "has too many rows (" + std::to_string(op.x.rows) + ")");
  if (!op.decode) return;
  c.require(op.decode->offset == 0 || op.decode->offset == 128, "decode", "offset must be 0 or 128");
  c.require(op.decode->scale > 0 && std::isfinite(op.decode->scale), "decode", "scale must be positive and finite");
}

void check(const Checker& c, const ObserveOp& op) {
  c.view("x", op.x, read, f32);
  c.require(op.sample_stride >= 1, "sampleStride", "must be at least 1");
  c.require(op.sample_rows >= 0 && op.sample_rows <= kMaxPlanBytes / 4 / op.x.width, "sampleRows", "is out of range");
  c.state("state", op.state, static_cast<int64_t>(observe_state_bytes(op.x.width, op.sample_rows)));
}

}  // namespace

const char* op_kind(const PlanOp& op) {
  static constexpr const char* names[] = {
      "linearCodes", "linearF32", "layernorm", "attentionCodes",    "attentionF32",      "patchify",   "copyRows",      "gather",
      "mean",        "observe",   "pointwise", "layernormGradient", "attentionGradient", "productSum", "layernormCodes"};
  static_assert(sizeof names / sizeof *names == std::variant_size_v<decltype(op.op)>, "one name a kind, in their order");
  return names[op.op.index()];
}

void validate(const Plan& plan) {
  const auto size = [](const char* field, int64_t bytes) {
    if (bytes < 0 || bytes > kMaxPlanBytes)
      throw std::invalid_argument("plan: " + std::string(field) + " must be 0.." + std::to_string(kMaxPlanBytes));
  };
  if (plan.batch < 1 || plan.batch > kMaxBatch)
    throw std::invalid_argument("plan: batch must be 1.." + std::to_string(kMaxBatch) + ", not " + std::to_string(plan.batch));
  size("arenaBytes", plan.arena_bytes);
  size("inputBytes", plan.input_bytes);
  size("outputBytes", plan.output_bytes);
  for (const PlanOp& op : plan.ops) {
    const Checker checker(plan, op);
    std::visit([&](const auto& kind) { check(checker, kind); }, op.op);
  }
}

}  // namespace fewbit
