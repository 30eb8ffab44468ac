#include "addon/plan_reader.h"

#include <climits>
#include <string>
#include <utility>

#include "addon/arguments.h"
#include "addon/blob.h"

namespace fewbit::addon {
namespace {

constexpr int64_t kMaxDistance = kMaxPlanBytes;

// The fields of what is known to be an object. `what` says which in messages: "plan op 'head' (linearF32): x."
class Fields {
 public:
  Fields(Napi::Value value, std::string what) : object_(value.As<Napi::Object>()), what_(std::move(what)) {}

  Napi::Value get(const char* field) const { return object_.Get(field); }
  bool has(const char* field) const { return !get(field).IsUndefined() && !get(field).IsNull(); }
  std::string name(const char* field) const { return what_ + field; }
  [[noreturn]] void fail(const char* field, const std::string& message) const {
    throw Napi::TypeError::New(object_.Env(), name(field) + " " + message);
  }

  int64_t distance(const char* field) const { return addon::integer(get(field), 0, kMaxDistance, name(field)); }
  int integer(const char* field) const { return static_cast<int>(addon::integer(get(field), INT_MIN, INT_MAX, name(field))); }
  float number(const char* field) const {
    if (!get(field).IsNumber()) fail(field, "must be a number");
    return get(field).As<Napi::Number>().FloatValue();
  }
  // Absent means false.
  bool flag(const char* field) const {
    if (has(field) && !get(field).IsBoolean()) fail(field, "must be true or false");
    return has(field) && get(field).As<Napi::Boolean>().Value();
  }
  std::string string(const char* field) const {
    if (!get(field).IsString()) fail(field, "must be a string");
    return get(field).As<Napi::String>().Utf8Value();
  }
  Napi::Array array(const char* field) const {
    if (!get(field).IsArray()) fail(field, "must be an array");
    return get(field).As<Napi::Array>();
  }
  Fields fields(const char* field) const {
    if (!get(field).IsObject()) fail(field, "must be an object");
    return Fields(get(field), name(field) + ".");
  }

  std::vector<int32_t> indices(const char* field) const;
  View view(const char* field) const;
  Constant constant(const char* field) const;
  PlanEncoder encoder(const char* field) const;
  std::optional<ResidualCode> residual_code(const char* field) const;
  std::optional<Rounding> rounding(const char* field) const;
  Activation activation(const char* field) const;
  Function function(const char* field) const;
  std::optional<View> optional_view(const char* field) const { return has(field) ? std::optional(view(field)) : std::nullopt; }
  std::optional<Constant> optional_constant(const char* field) const {
    return has(field) ? std::optional(constant(field)) : std::nullopt;
  }
  std::optional<PlanEncoder> optional_encoder(const char* field) const {
    return has(field) ? std::optional(encoder(field)) : std::nullopt;
  }
  std::optional<PlanWindows> optional_windows(const char* field) const;
  std::optional<PlanLogitCode> optional_logit_code(const char* field) const;
  std::optional<PlanDecoder> optional_decoder(const char* field) const;

 private:
  Napi::Object object_;
  std::string what_;
};

std::vector<int32_t> Fields::indices(const char* field) const {
  const Napi::Value value = get(field);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array)
    fail(field, "must be an Int32Array");
  const Napi::Int32Array array = value.As<Napi::Int32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

View Fields::view(const char* field) const {
  const Fields v = fields(field);
  const std::string space = v.string("space");
  View view{};
  if (space == "arena") {
    view.space = Space::arena;
  } else if (space == "input") {
    view.space = Space::input;
  } else if (space == "output") {
    view.space = Space::output;
  } else if (space == "blob") {
    view.space = Space::blob;
    view.blob = v.integer("blob");
  } else {
    v.fail("space", "must be arena, input, output or blob, not '" + space + "'");
  }
  view.offset = v.distance("offset");
  view.row_stride = v.distance("rowStride");
  view.image_stride = v.distance("imageStride");
  view.rows = v.integer("rows");
  view.width = v.integer("width");
  return view;
}

Constant Fields::constant(const char* field) const {
  const Fields c = fields(field);
  return {c.integer("blob"), c.distance("offset")};
}

PlanEncoder Fields::encoder(const char* field) const {
  const Fields e = fields(field);
  PlanEncoder encoder{e.number("inverseStep"), e.integer("low"), e.integer("high"), e.integer("offset"), {}, {}, 0};
  if (e.has("table")) encoder.table = e.constant("table");
  if (e.has("inverseSteps")) encoder.inverse_steps = e.constant("inverseSteps");
  if (e.has("fineEvery")) encoder.fine_every = e.integer("fineEvery");
  return encoder;
}

std::optional<PlanWindows> Fields::optional_windows(const char* field) const {
  if (!has(field)) return std::nullopt;
  const Fields w = fields(field);
  PlanWindows windows{w.integer("count"), {}, w.optional_constant("bias"), w.optional_constant("regions")};
  if (w.has("rows")) windows.rows = w.indices("rows");
  return windows;
}

std::optional<PlanLogitCode> Fields::optional_logit_code(const char* field) const {
  if (!has(field)) return std::nullopt;
  const Fields code = fields(field);
  return PlanLogitCode{code.number("inverseStep"), code.number("step")};
}

std::optional<PlanDecoder> Fields::optional_decoder(const char* field) const {
  if (!has(field)) return std::nullopt;
  const Fields decoder = fields(field);
  return PlanDecoder{decoder.integer("offset"), decoder.number("scale")};
}

std::optional<ResidualCode> Fields::residual_code(const char* field) const {
  if (!has(field)) return std::nullopt;
  const Fields code = fields(field);
  return ResidualCode{code.constant("scale"), code.integer("offset")};
}

std::optional<Rounding> Fields::rounding(const char* field) const {
  if (!has(field)) return std::nullopt;
  const Fields code = fields(field);
  return Rounding{code.number("inverseStep"), code.number("step"), code.integer("low"), code.integer("high")};
}

Activation Fields::activation(const char* field) const {
  const std::string activation = string(field);
  if (activation == "none") return Activation::none;
  if (activation == "gelu") return Activation::gelu;
  fail(field, "must be none or gelu, not '" + activation + "'");
}

Function Fields::function(const char* field) const {
  const std::string function = string(field);
  if (function == "identity") return Function::identity;
  if (function == "gelu") return Function::gelu;
  if (function == "geluSlope") return Function::gelu_slope;
  fail(field, "must be identity, gelu or geluSlope, not '" + function + "'");
}

LinearCodesOp linear_codes(const Fields& f) {
  return {f.view("x"),
          f.view("y"),
          f.constant("weight"),
          f.integer("weightBits"),
          f.constant("correction"),
          f.constant("scale"),
          f.constant("bias"),
          f.activation("activation"),
          f.optional_constant("gain"),
          f.optional_view("residual"),
          f.optional_encoder("encode"),
          f.residual_code("residualCode"),
          f.rounding("preActivation"),
          f.optional_constant("preActivationFactors")};
}

LinearF32Op linear_f32(const Fields& f) {
  return {f.view("x"),
          f.view("y"),
          f.constant("weight"),
          f.constant("bias"),
          f.activation("activation"),
          f.optional_constant("gain"),
          f.optional_view("residual")};
}

LayerNormOp layernorm(const Fields& f) {
  return {f.view("x"), f.view("y"), f.constant("gamma"), f.constant("beta"), f.number("eps"), f.optional_encoder("encode")};
}

LayerNormCodesOp layernorm_codes(const Fields& f) {
  return {f.view("x"),         f.view("y"),        f.integer("offset"), f.optional_constant("shift"),
          f.constant("gamma"), f.constant("beta"), f.number("eps"),     f.optional_encoder("encode")};
}

AttentionCodesOp attention_codes(const Fields& f) {
  return {f.view("q"),
          f.view("k"),
          f.view("v"),
          f.view("y"),
          f.integer("heads"),
          f.constant("logitScale"),
          f.constant("pInverseStep"),
          f.constant("outputScale"),
          f.encoder("encodeP"),
          f.encoder("encode"),
          f.optional_windows("windows"),
          f.optional_logit_code("logitCode"),
          f.flag("relative")};
}

AttentionF32Op attention_f32(const Fields& f) {
  return {f.view("q"),
          f.view("k"),
          f.view("v"),
          f.view("y"),
          f.integer("heads"),
          f.constant("scale"),
          f.optional_view("probabilities"),
          f.optional_windows("windows")};
}

PatchifyOp patchify(const Fields& f) {
  return {f.view("x"),
          f.view("y"),
          f.integer("channels"),
          f.integer("patchHeight"),
          f.integer("patchWidth"),
          f.optional_encoder("encode")};
}

GatherOp gather(const Fields& f) {
  return {f.view("x"), f.view("y"), f.integer("elementBytes"), f.integer("zero"), f.indices("rows")};
}

MeanOp mean(const Fields& f) { return {f.view("x"), f.view("y"), f.optional_decoder("decode"), f.optional_encoder("encode")}; }

PointwiseOp pointwise(const Fields& f) {
  return {f.view("x"),
          f.view("y"),
          f.function("function"),
          f.optional_constant("gain"),
          f.optional_view("factor"),
          f.optional_view("residual"),
          f.optional_encoder("encode")};
}

LayerNormGradientOp layernorm_gradient(const Fields& f) {
  return {f.view("x"), f.view("gradient"), f.view("y"), f.constant("gamma"), f.number("eps"), f.optional_view("residual")};
}

AttentionGradientOp attention_gradient(const Fields& f) {
  return {f.view("q"),
          f.view("k"),
          f.view("v"),
          f.view("gradient"),
          f.view("y"),
          f.integer("heads"),
          f.constant("scale"),
          f.optional_view("probabilities"),
          f.optional_windows("windows")};
}

ObserveOp observe(const Fields& f) {
  return {f.view("x"), f.constant("state"), f.integer("sampleRows"), f.distance("sampleStride")};
}

PlanOp read_op(Napi::Value value, const std::string& index) {
  const std::string place = "plan.ops[" + index + "]";
  if (!value.IsObject()) throw Napi::TypeError::New(value.Env(), place + " must be an object");
  const Fields header(value, place + ".");
  PlanOp op;
  op.name = header.string("name");
  const std::string kind = header.string("op");
  const Fields f(value, "plan op '" + op.name + "' (" + kind + "): ");
  if (kind == "linearCodes") {
    op.op = linear_codes(f);
  } else if (kind == "linearF32") {
    op.op = linear_f32(f);
  } else if (kind == "layernorm") {
    op.op = layernorm(f);
  } else if (kind == "layernormCodes") {
    op.op = layernorm_codes(f);
  } else if (kind == "attentionCodes") {
    op.op = attention_codes(f);
  } else if (kind == "attentionF32") {
    op.op = attention_f32(f);
  } else if (kind == "patchify") {
    op.op = patchify(f);
  } else if (kind == "pointwise") {
    op.op = pointwise(f);
  } else if (kind == "layernormGradient") {
    op.op = layernorm_gradient(f);
  } else if (kind == "attentionGradient") {
    op.op = attention_gradient(f);
  } else if (kind == "productSum") {
    op.op = ProductSumOp{f.view("a"), f.view("b"), f.constant("sum")};
  } else if (kind == "copyRows") {
    op.op = CopyRowsOp{f.view("x"), f.view("y"), f.flag("codes")};
  } else if (kind == "gather") {
    op.op = gather(f);
  } else if (kind == "mean") {
    op.op = mean(f);
  } else if (kind == "observe") {
    op.op = observe(f);
  } else {
    header.fail("op", "'" + kind + "' of '" + op.name + "' is not known");
  }
  return op;
}

}  // namespace

Plan read_plan(Napi::Value value) {
  if (!value.IsObject()) throw Napi::TypeError::New(value.Env(), "plan must be an object");
  const Fields f(value, "plan.");
  Plan plan{f.integer("batch"), f.distance("arenaBytes"), f.distance("inputBytes"), f.distance("outputBytes"), {}, {}};
  const Napi::Array blobs = f.array("blobs");
  for (uint32_t i = 0; i < blobs.Length(); ++i) {
    const Napi::HandleScope scope(value.Env());
    const Napi::Value blob = blobs.Get(i);
    if (!blob.IsObject()) f.fail("blobs", "must be blobs of createBlob or allocateBlob");
    plan.blobs.push_back(BlobObject::Unwrap(blob.As<Napi::Object>())->blob());
  }
  const Napi::Array ops = f.array("ops");
  for (uint32_t i = 0; i < ops.Length(); ++i) {
    const Napi::HandleScope scope(value.Env());
    plan.ops.push_back(read_op(ops.Get(i), std::to_string(i)));
  }
  return plan;
}

}  // namespace fewbit::addon
