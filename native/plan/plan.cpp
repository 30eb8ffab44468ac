#include "plan/plan.h"

#include <climits>
#include <cmath>
#include <stdexcept>

#include "ops/attention.h"
#include "ops/layernorm.h"
#include "ops/observe.h"

namespace fewbit {
namespace {

constexpr int64_t round_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

// Sizes of weights and scratch are computed in int and size_t from widths; this keeps them far from overflow.
constexpr int kMaxWidth = 1 << 24;

enum Access { read, write };
enum Element : int { code = 1, f32 = 4 };

// Takes count * stride from room; false when it is not there. Every number here is at most 2^40 or an int, so a product
// could overflow and is not formed.
bool take(int64_t count, int64_t stride, int64_t* room) {
  if (stride && count > *room / stride) return false;
  *room -= count * stride;
  return true;
}

std::string shape(const View& view) { return std::to_string(view.rows) + " x " + std::to_string(view.width); }

class Checker {
 public:
  Checker(const Plan& plan, const PlanOp& op) : plan_(plan), op_(op) {}

  [[noreturn]] void fail(const std::string& field, const std::string& what) const {
    throw std::invalid_argument("plan op '" + op_.name + "' (" + op_kind(op_) + "): " + field + " " + what);
  }
  void require(bool good, const char* field, const std::string& what) const {
    if (!good) fail(field, what);
  }

  void view(const char* field, const View& v, Access access, Element element) const {
    require(v.rows >= 1 && v.width >= 1, field, "is empty (" + shape(v) + ")");
    require(v.width <= kMaxWidth, field, "is too wide (" + shape(v) + ")");
    require(int64_t(v.rows) * plan_.batch <= INT_MAX, field, "has too many rows (" + std::to_string(v.rows) + ")");
    const std::string aligned = "must be a multiple of " + std::to_string(element);
    require(v.offset >= 0 && v.offset % element == 0, field, "offset " + aligned + " and not negative");
    require(v.row_stride >= 0 && v.row_stride % element == 0, field, "rowStride " + aligned + " and not negative");
    require(v.image_stride >= 0 && v.image_stride % element == 0, field, "imageStride " + aligned + " and not negative");
    if (access == write) writable(field, v, int64_t(v.width) * element);
    inside(field, v, int64_t(v.width) * element);
  }

  // Codes that a matrix product reads in whole vectors.
  void operand(const char* field, const View& v) const {
    require(v.offset % 64 == 0 && v.row_stride % 64 == 0 && v.image_stride % 64 == 0, field,
            "offset, rowStride and imageStride must be multiples of 64");
    require(v.space == Space::arena || v.space == Space::blob, field,
            "must lie in the arena or in a blob: codes are read in vectors");
    view(field, v, read, code);
    inside(field, v, round_up(v.width, 64));
  }

  void same_shape(const char* field, const View& v, int rows, int width) const {
    if (v.rows != rows || v.width != width)
      fail(field, "is " + shape(v) + ", not " + std::to_string(rows) + " x " + std::to_string(width));
  }

  void constant(const char* field, const Constant& c, int64_t bytes) const {
    const int64_t size = blob_size(field, c.blob);
    require(c.offset >= 0 && c.offset % 64 == 0, field, "offset must be a multiple of 64 and not negative");
    if (c.offset > size || bytes > size - c.offset) {
      fail(field, "needs " + std::to_string(bytes) + " bytes at offset " + std::to_string(c.offset) + " of blob " +
                      std::to_string(c.blob) + ", which has " + std::to_string(size));
    }
  }

  // One that runs write.
  void state(const char* field, const Constant& c, int64_t bytes) const {
    constant(field, c, bytes);
    require(plan_.blobs[c.blob]->writable(), field, "is written and must not lie in a mapped file");
  }

  // columns: of a target whose kernel takes a step for each; 0 for the others.
  void encoder(const char* field, const PlanEncoder& e, int columns = 0) const {
    require(e.inverse_step > 0 && std::isfinite(e.inverse_step), field, "inverseStep must be positive and finite");
    require(e.offset == 0 || e.offset == 128, field, "offset must be 0 or 128");
    require(e.low <= e.high && e.low + e.offset >= 0 && e.high + e.offset <= 255, field,
            "levels " + std::to_string(e.low) + ".." + std::to_string(e.high) + " with offset " + std::to_string(e.offset) +
                " do not fit a byte");
    if (e.table) constant((std::string(field) + ".table").c_str(), *e.table, kEncodeTable);
    if (!e.inverse_steps) return;
    require(columns > 0, field, "must not have inverseSteps");
    constant((std::string(field) + ".inverseSteps").c_str(), *e.inverse_steps, round_up(columns, 16) * 4);
  }

  // A target, and what it holds. With `columns` each column may have a step of its own.
  enum Steps { one_step, columns };
  void target(const char* field, const View& y, const std::optional<PlanEncoder>& encode, Steps steps = one_step) const {
    view(field, y, write, encode ? code : f32);
    if (encode) encoder("encode", *encode, steps == columns ? y.width : 0);
  }

  void residual(const std::optional<View>& r, const View& y, Element element = f32) const { optional("residual", r, y, element); }

  // Of the shape of y.
  void optional(const char* field, const std::optional<View>& v, const View& y, Element element = f32) const {
    if (!v) return;
    view(field, *v, read, element);
    same_shape(field, *v, y.rows, y.width);
  }

  // Returns the tokens of a window.
  int heads(int count, const View& q, const View& k, const View& v, const View& y,
            const std::optional<PlanWindows>& windows) const {
    require(count >= 1 && q.width % count == 0, "heads", "must divide the width of q (" + std::to_string(q.width) + ")");
    same_shape("k", k, q.rows, q.width);
    same_shape("v", v, q.rows, q.width);
    same_shape("y", y, q.rows, q.width);
    const int parts = windows ? windows->count : 1;
    require(parts >= 1 && q.rows % parts == 0, "windows.count", "must divide the rows of q (" + std::to_string(q.rows) + ")");
    require(int64_t(count) * parts <= INT_MAX / plan_.batch, "heads", "is too large");
    const int64_t tokens = q.rows / parts;
    if (!windows) return tokens;
    require(parts == 1 || !windows->rows.empty(), "windows.rows", "must be there when there are several windows");
    if (!windows->rows.empty()) every_row_once("windows.rows", windows->rows, q.rows);
    // None of the factors is above 2^24 where a constant of that size exists.
    require(tokens <= kMaxWidth, "windows", "hold too many tokens (" + std::to_string(tokens) + ")");
    if (windows->bias) {
      require(count <= kMaxPlanBytes / 4 / tokens / tokens, "windows.bias", "is too large");
      constant("windows.bias", *windows->bias, count * tokens * tokens * 4);
    }
    if (windows->regions) constant("windows.regions", *windows->regions, q.rows);
    return static_cast<int>(tokens);
  }

  // Rows of an index table that is read, all in the range -1..rows - 1.
  void rows_inside(const char* field, const std::vector<int32_t>& table, int rows) const {
    for (int32_t row : table) {
      if (row < -1 || row >= rows) fail(field, "names row " + std::to_string(row) + ", and there are " + std::to_string(rows));
    }
  }

  // Where attention keeps a number for each window, head, query and key.
  void probabilities(const std::optional<View>& p, const View& q, int heads, int tokens) const {
    if (!p) return;
    view("probabilities", *p, write, f32);
    require(q.rows <= INT_MAX / heads, "heads", "is too large");
    same_shape("probabilities", *p, heads * q.rows, tokens);
  }

 private:
  // Rows are written once, by one task each.
  void every_row_once(const char* field, const std::vector<int32_t>& table, int rows) const {
    require(table.size() == size_t(rows), field, "must name " + std::to_string(rows) + " rows");
    std::vector<bool> seen(rows);
    for (int32_t row : table) {
      if (row < 0 || row >= rows || seen[row]) fail(field, "must name every row once (" + std::to_string(row) + ")");
      seen[row] = true;
    }
  }

  int64_t blob_size(const char* field, int blob) const {
    require(blob >= 0 && size_t(blob) < plan_.blobs.size(), field,
            "names blob " + std::to_string(blob) + ", and there are " + std::to_string(plan_.blobs.size()));
    return static_cast<int64_t>(plan_.blobs[blob]->size());
  }

  void writable(const char* field, const View& v, int64_t row_bytes) const {
    require(v.space == Space::arena || v.space == Space::output, field, "is written and must lie in the arena or the output");
    require(v.rows == 1 || v.row_stride >= row_bytes, field, "rowStride is shorter than a row: rows would overlap");
    require(plan_.batch == 1 || v.image_stride >= row_bytes, field, "imageStride is shorter than a row: images would overlap");
  }

  // Every row of every image of a pass, where the last `row_bytes` bytes of a row may be read or written.
  void inside(const char* field, const View& v, int64_t row_bytes) const {
    int64_t size = plan_.arena_bytes;
    int64_t images = plan_.batch;
    const char* space = "the arena";
    if (v.space == Space::blob) {
      size = blob_size(field, v.blob);
      space = "its blob";
    } else if (v.space != Space::arena) {
      // As many images as the caller's array holds: it is enough to look at one.
      const bool input = v.space == Space::input;
      size = input ? plan_.input_bytes : plan_.output_bytes;
      space = input ? "the input of an image" : "the output of an image";
      images = 1;
      require(v.image_stride == size, field, std::string("imageStride must be ") + (input ? "inputBytes" : "outputBytes"));
    }
    int64_t room = size;
    if (!take(1, v.offset, &room) || !take(1, row_bytes, &room) || !take(images - 1, v.image_stride, &room) ||
        !take(v.rows - 1, v.row_stride, &room)) {
      fail(field, "(" + shape(v) + " at offset " + std::to_string(v.offset) + ", rowStride " + std::to_string(v.row_stride) +
                      ", imageStride " + std::to_string(v.image_stride) + ") does not fit " + space + " (" +
                      std::to_string(size) + " bytes)");
    }
  }

  const Plan& plan_;
  const PlanOp& op_;
};

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
  c.target("y", op.y, op.encode);
  c.heads(op.heads, op.q, op.k, op.v, op.y, op.windows);
  c.encoder("encodeP", op.encode_p);
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
