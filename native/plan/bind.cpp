#include "plan/bind.h"

namespace fewbit {
namespace {

// Fills the three fields of a target that is floats or codes.
template <class Op>
void set_target(const Pass& pass, const Rows& rows, const View& y, const std::optional<PlanEncoder>& encode, Op* op) {
  if (encode) {
    op->y_codes = pointer<uint8_t>(pass, y, rows.first);
    op->y_codes_stride = rows.stride<uint8_t>(y);
    op->encode = encoder(pass, *encode);
  } else {
    op->y_float = pointer<float>(pass, y, rows.first);
    op->y_float_stride = rows.stride<float>(y);
  }
}

// The pointer and the stride of an operand that may be missing.
void set_optional(const Pass& pass, const Rows& rows, const std::optional<View>& view, const float** x, ptrdiff_t* stride) {
  if (!view) return;
  *x = pointer<const float>(pass, *view, rows.first);
  *stride = rows.stride<float>(*view);
}

template <class Op>
void set_residual(const Pass& pass, const Rows& rows, const std::optional<View>& residual, Op* op) {
  set_optional(pass, rows, residual, &op->residual, &op->residual_stride);
}

}  // namespace

LinearCodes bind(const LinearCodesOp& plan, const Pass& pass, const Rows& rows) {
  LinearCodes op{};
  op.rows = rows.count(plan.x);
  op.inputs = plan.x.width;
  op.outputs = plan.y.width;
  op.x = pointer<const uint8_t>(pass, plan.x, rows.first);
  op.x_stride = rows.stride<uint8_t>(plan.x);
  op.weight = pointer<uint8_t>(pass, plan.weight);
  op.weight_bits = plan.weight_bits;
  op.correction = pointer<int32_t>(pass, plan.correction);
  op.scale = pointer(pass, plan.scale);
  op.bias = pointer(pass, plan.bias);
  op.activation = plan.activation;
  op.gain = plan.gain ? pointer(pass, *plan.gain) : nullptr;
  op.pre_activation = plan.pre_activation ? &*plan.pre_activation : nullptr;
  op.pre_activation_factors = plan.pre_activation_factors ? pointer(pass, *plan.pre_activation_factors) : nullptr;
  if (plan.residual_code) {
    op.residual_codes = pointer<const uint8_t>(pass, *plan.residual, rows.first);
    op.residual_codes_stride = rows.stride<uint8_t>(*plan.residual);
    op.residual_scale = pointer(pass, plan.residual_code->scale);
    op.residual_offset = plan.residual_code->offset;
  } else {
    set_residual(pass, rows, plan.residual, &op);
  }
  set_target(pass, rows, plan.y, plan.encode, &op);
  return op;
}

LinearF32 bind(const LinearF32Op& plan, const Pass& pass, const Rows& rows) {
  LinearF32 op{};
  op.rows = rows.count(plan.x);
  op.inputs = plan.x.width;
  op.outputs = plan.y.width;
  op.x = pointer<const float>(pass, plan.x, rows.first);
  op.x_stride = rows.stride<float>(plan.x);
  op.weight = pointer(pass, plan.weight);
  op.bias = pointer(pass, plan.bias);
  op.activation = plan.activation;
  op.gain = plan.gain ? pointer(pass, *plan.gain) : nullptr;
  set_residual(pass, rows, plan.residual, &op);
  op.y = pointer<float>(pass, plan.y, rows.first);
  op.y_stride = rows.stride<float>(plan.y);
  return op;
}

LayerNorm bind(const LayerNormOp& plan, const Pass& pass, const Rows& rows) {
  LayerNorm op{};
  op.rows = rows.count(plan.x);
  op.width = plan.x.width;
  op.x = pointer<const float>(pass, plan.x, rows.first);
  op.x_stride = rows.stride<float>(plan.x);
  op.gamma = pointer(pass, plan.gamma);
  op.beta = pointer(pass, plan.beta);
  op.eps = plan.eps;
  set_target(pass, rows, plan.y, plan.encode, &op);
  return op;
}

LayerNormCodes bind(const LayerNormCodesOp& plan, const Pass& pass, const Rows& rows) {
  LayerNormCodes op{};
  op.rows = rows.count(plan.x);
  op.width = plan.x.width;
  op.x = pointer<const uint8_t>(pass, plan.x, rows.first);
  op.x_stride = rows.stride<uint8_t>(plan.x);
  op.offset = plan.offset;
  op.shift = plan.shift ? pointer<uint8_t>(pass, *plan.shift) : nullptr;
  op.gamma = pointer(pass, plan.gamma);
  op.beta = pointer(pass, plan.beta);
  op.eps = plan.eps;
  set_target(pass, rows, plan.y, plan.encode, &op);
  return op;
}

Patchify bind(const PatchifyOp& plan, const Pass& pass, const Rows& rows) {
  Patchify op{};
  op.channels = plan.channels;
  op.height = plan.x.rows / plan.channels;
  op.width = plan.x.width;
  op.patch_height = plan.patch_height;
  op.patch_width = plan.patch_width;
  op.image = pointer<const float>(pass, plan.x, rows.first);
  set_target(pass, rows, plan.y, plan.encode, &op);
  return op;
}

Pointwise bind(const PointwiseOp& plan, const Pass& pass, const Rows& rows) {
  Pointwise op{};
  op.rows = rows.count(plan.x);
  op.width = plan.x.width;
  op.x = pointer<const float>(pass, plan.x, rows.first);
  op.x_stride = rows.stride<float>(plan.x);
  op.function = plan.function;
  op.gain = plan.gain ? pointer(pass, *plan.gain) : nullptr;
  set_optional(pass, rows, plan.factor, &op.factor, &op.factor_stride);
  set_residual(pass, rows, plan.residual, &op);
  set_target(pass, rows, plan.y, plan.encode, &op);
  return op;
}

LayerNormGradient bind(const LayerNormGradientOp& plan, const Pass& pass, const Rows& rows) {
  LayerNormGradient op{};
  op.rows = rows.count(plan.x);
  op.width = plan.x.width;
  op.x = pointer<const float>(pass, plan.x, rows.first);
  op.x_stride = rows.stride<float>(plan.x);
  op.gradient = pointer<const float>(pass, plan.gradient, rows.first);
  op.gradient_stride = rows.stride<float>(plan.gradient);
  op.gamma = pointer(pass, plan.gamma);
  op.eps = plan.eps;
  set_residual(pass, rows, plan.residual, &op);
  op.y = pointer<float>(pass, plan.y, rows.first);
  op.y_stride = rows.stride<float>(plan.y);
  return op;
}

ProductSum bind(const ProductSumOp& plan, const Pass& pass, const Rows& rows) {
  ProductSum op{};
  op.rows = rows.count(plan.a);
  op.a_width = plan.a.width;
  op.b_width = plan.b.width;
  op.a = pointer<const float>(pass, plan.a, rows.first);
  op.a_stride = rows.stride<float>(plan.a);
  op.b = pointer<const float>(pass, plan.b, rows.first);
  op.b_stride = rows.stride<float>(plan.b);
  op.sum = pointer(pass, plan.sum);
  return op;
}

CopyRows bind(const CopyRowsOp& plan, const Pass& pass, const Rows& rows) {
  CopyRows op{};
  op.rows = rows.count(plan.x);
  op.row_bytes = plan.x.width * (plan.codes ? 1 : sizeof(float));
  op.x = pointer<const uint8_t>(pass, plan.x, rows.first);
  op.x_stride = rows.stride<uint8_t>(plan.x);
  op.y = pointer<uint8_t>(pass, plan.y, rows.first);
  op.y_stride = rows.stride<uint8_t>(plan.y);
  return op;
}

Observe bind(const ObserveOp& plan, const Pass& pass, const Rows& rows) {
  Observe op{};
  op.rows = rows.count(plan.x);
  op.width = plan.x.width;
  op.x = pointer<const float>(pass, plan.x, rows.first);
  op.x_stride = rows.stride<float>(plan.x);
  op.state = pointer<double>(pass, plan.state);
  op.sample_rows = plan.sample_rows;
  op.sample_stride = plan.sample_stride;
  return op;
}

Gather bind(const GatherOp& plan, const Pass& pass, const Rows& rows) {
  Gather op{};
  op.count = plan.y.rows;
  op.parts = plan.y.width / plan.x.width;
  op.rows = plan.rows.data();
  op.part_bytes = ptrdiff_t(plan.x.width) * plan.element_bytes;
  op.x = pointer<const uint8_t>(pass, plan.x, rows.first);
  op.x_stride = plan.x.row_stride;
  op.y = pointer<uint8_t>(pass, plan.y, rows.first);
  op.y_stride = plan.y.row_stride;
  op.zero = static_cast<uint8_t>(plan.zero);
  return op;
}

Mean bind(const MeanOp& plan, const Pass& pass, const Rows& rows) {
  Mean op{};
  op.rows = plan.x.rows;
  op.width = plan.x.width;
  if (plan.decode) {
    op.x_codes = pointer<const uint8_t>(pass, plan.x, rows.first);
    op.x_codes_stride = plan.x.row_stride;
    op.x_offset = plan.decode->offset;
    op.scale = plan.decode->scale;
  } else {
    op.x_float = pointer<const float>(pass, plan.x, rows.first);
    op.x_float_stride = rows.stride<float>(plan.x);
  }
  if (plan.encode) {
    op.y_codes = pointer<uint8_t>(pass, plan.y, rows.first);
    op.encode = encoder(pass, *plan.encode);
  } else {
    op.y_float = pointer<float>(pass, plan.y, rows.first);
  }
  return op;
}

}  // namespace fewbit
