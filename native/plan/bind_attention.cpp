#include "plan/bind.h"

namespace fewbit {
namespace {

AttentionWindows windows(const Pass& pass, const std::optional<PlanWindows>& plan) {
  if (!plan) return {};
  AttentionWindows windows;
  windows.count = plan->count;
  windows.rows = plan->rows.empty() ? nullptr : plan->rows.data();
  windows.bias = plan->bias ? pointer(pass, *plan->bias) : nullptr;
  windows.bias_by_key = plan->bias_by_key ? reinterpret_cast<const float*>(plan->bias_by_key->data()) : nullptr;
  windows.regions = plan->regions ? pointer<uint8_t>(pass, *plan->regions) : nullptr;
  return windows;
}

// What attention on floats and its gradient have in common.
template <class Op, class Kind>
Op bind_float_attention(const Kind& plan, const Pass& pass) {
  constexpr ptrdiff_t f32 = sizeof(float);
  Op op{};
  op.images = pass.images;
  op.heads = plan.heads;
  op.tokens = tokens(plan);
  op.windows = windows(pass, plan.windows);
  op.head_width = plan.q.width / plan.heads;
  op.q = pointer<const float>(pass, plan.q, 0);
  op.k = pointer<const float>(pass, plan.k, 0);
  op.v = pointer<const float>(pass, plan.v, 0);
  op.q_stride = plan.q.row_stride / f32;
  op.k_stride = plan.k.row_stride / f32;
  op.v_stride = plan.v.row_stride / f32;
  op.q_image_stride = plan.q.image_stride / f32;
  op.k_image_stride = plan.k.image_stride / f32;
  op.v_image_stride = plan.v.image_stride / f32;
  op.scale = pointer(pass, plan.scale);
  op.y = pointer<float>(pass, plan.y, 0);
  op.y_stride = plan.y.row_stride / f32;
  op.y_image_stride = plan.y.image_stride / f32;
  if (plan.probabilities) {
    op.probabilities = pointer<float>(pass, *plan.probabilities, 0);
    op.probabilities_stride = plan.probabilities->row_stride / f32;
    op.probabilities_image_stride = plan.probabilities->image_stride / f32;
  }
  return op;
}

}  // namespace

void exchange_biases(Plan* plan) {
  for (PlanOp& op : plan->ops) {
    auto* const attention = std::get_if<AttentionCodesOp>(&op.op);
    if (!attention || !attention->windows || !attention->windows->bias) continue;
    PlanWindows& windows = *attention->windows;
    const int heads = attention->heads, count = tokens(*attention);
    windows.bias_by_key.emplace(size_t(heads) * count * bias_by_key_row(count) * sizeof(float));
    const uint8_t* bias = plan->blobs[windows.bias->blob]->data() + windows.bias->offset;
    exchange_bias(reinterpret_cast<const float*>(bias), heads, count, reinterpret_cast<float*>(windows.bias_by_key->data()));
  }
}

size_t exchanged_bytes(const Plan& plan) {
  size_t bytes = 0;
  for (const PlanOp& op : plan.ops)
    if (const auto* attention = std::get_if<AttentionCodesOp>(&op.op); attention && attention->windows)
      if (const std::optional<Blob>& biases = attention->windows->bias_by_key) bytes += biases->size();
  return bytes;
}

AttentionCodes bind(const AttentionCodesOp& plan, const Pass& pass) {
  AttentionCodes op{};
  op.images = pass.images;
  op.heads = plan.heads;
  op.tokens = tokens(plan);
  op.windows = windows(pass, plan.windows);
  op.head_width = plan.q.width / plan.heads;
  op.q = pointer<const uint8_t>(pass, plan.q, 0);
  op.k = pointer<const uint8_t>(pass, plan.k, 0);
  op.v = pointer<const uint8_t>(pass, plan.v, 0);
  op.q_stride = plan.q.row_stride;
  op.k_stride = plan.k.row_stride;
  op.v_stride = plan.v.row_stride;
  op.q_image_stride = plan.q.image_stride;
  op.k_image_stride = plan.k.image_stride;
  op.v_image_stride = plan.v.image_stride;
  op.logit_scale = pointer(pass, plan.logit_scale);
  op.p_inverse_step = pointer(pass, plan.p_inverse_step);
  op.output_scale = pointer(pass, plan.output_scale);
  op.encode_p = encoder(pass, plan.encode_p);
  op.relative = plan.relative;
  op.y = pointer<uint8_t>(pass, plan.y, 0);
  op.y_stride = plan.y.row_stride;
  op.y_image_stride = plan.y.image_stride;
  op.encode = encoder(pass, plan.encode);
  if (plan.logit_code) {
    op.logit_inverse_step = plan.logit_code->inverse_step;
    op.logit_step = plan.logit_code->step;
  }
  return op;
}

AttentionF32 bind(const AttentionF32Op& plan, const Pass& pass) { return bind_float_attention<AttentionF32>(plan, pass); }

AttentionGradient bind(const AttentionGradientOp& plan, const Pass& pass) {
  AttentionGradient op = bind_float_attention<AttentionGradient>(plan, pass);
  op.gradient = pointer<const float>(pass, plan.gradient, 0);
  op.gradient_stride = plan.gradient.row_stride / ptrdiff_t(sizeof(float));
  op.gradient_image_stride = plan.gradient.image_stride / ptrdiff_t(sizeof(float));
  return op;
}

}  // namespace fewbit
