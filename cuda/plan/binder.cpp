// How an op meets a batch: all images of a pass are one launch. Where the rows of all images lie at one distance in every
// operand they are one long matrix; else kernels find rows by image and row (Matrix in ops/device.h).
#include "cuda/plan/binder.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "cuda/ops/attention_codes.h"
#include "cuda/ops/attention_f32.h"
#include "cuda/ops/gather.h"
#include "cuda/ops/layernorm.h"
#include "cuda/ops/linear_codes.h"
#include "cuda/ops/linear_f32.h"
#include "cuda/ops/mean.h"
#include "cuda/ops/patchify.h"
#include "cuda/ops/pointwise.h"
#include "cuda/plan/joined_layers.h"

namespace fewbit::cuda {
namespace {

size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

bool uniform(const View& view) { return view.rows == 1 || view.image_stride == view.rows * view.row_stride; }
bool uniform(const std::optional<View>& view) { return !view || uniform(*view); }

class Binder {
 public:
  Binder(const Plan& plan, int images, const Spaces& spaces, const Device& device, Constants& constants)
      : plan_(plan), images_(images), spaces_(spaces), device_(device), constants_(constants) {}

  Program bind() {
    for (op_ = 0; op_ < plan_.ops.size(); op_ += program_.steps.back().ops) std::visit(*this, plan_.ops[op_].op);
    return std::move(program_);
  }

  void operator()(const LinearCodesOp& op) {
    LinearCodesParams p = params_of(op);
    const auto layers = layers_with(op, [&](const LinearCodesOp& next) {
      return linear_codes_joins(p) && joins(op, next) && linear_codes_joins(params_of(next));
    });
    if (layers.size() > 1) join(plan_, layers, constants_, &p);
    set_weight(plan_, layers, constants_, &p);
    for (const LinearCodesOp* layer : layers)
      if (layer->encode) note_codes(layer->y, &*layer->encode);
    const Launch launch = linear_codes_launch(p, device_);
    add(p, launch, linear_codes_workspace(p, device_), int(layers.size()));
  }

  void operator()(const LinearF32Op& op) {
    LinearF32Params p{};
    set_rows(op.x, uniform(op.x) && uniform(op.y) && uniform(op.residual), &p);
    p.inputs = op.x.width;
    p.outputs = op.y.width;
    const size_t padded = round_up(p.outputs, 16);
    p.x = matrix<const float>(op.x);
    p.activation = op.activation;
    p.gain = array<float>(op.gain, padded);
    p.residual = matrix<const float>(op.residual);
    p.y = matrix<float>(op.y);
    const auto layers = layers_with(op, [&](const LinearF32Op& next) { return joins(op, next); });
    if (layers.size() > 1) {
      join(plan_, layers, constants_, &p);
    } else {
      p.weight = array<float>(op.weight, padded * p.inputs);
      p.bias = array<float>(op.bias, padded);
    }
    add(p, linear_f32_launch(p, device_), {}, int(layers.size()));
  }

  void operator()(const LayerNormOp& op) {
    LayerNormParams p{};
    set_normalised(op, &p);
    p.x = matrix<const float>(op.x);
    add(p, layernorm_launch(p, device_));
  }

  void operator()(const LayerNormCodesOp& op) {
    LayerNormCodesParams p{};
    set_normalised(op, &p);
    p.x = matrix<const uint8_t>(op.x);
    p.offset = op.offset;
    p.shift = array<uint8_t>(op.shift, op.x.width);
    add(p, layernorm_codes_launch(p, device_));
  }

  void operator()(const AttentionCodesOp& op) {
    AttentionCodesParams p{};
    set_attention<const uint8_t>(op, &p);
    p.logit_scale = array<float>(op.logit_scale, op.heads);
    p.p_inverse_step = array<float>(op.p_inverse_step, op.heads);
    p.output_scale = array<float>(op.output_scale, op.heads);
    p.encode_p = encoder(op.encode_p, 0);
    p.relative = op.relative;
    if (op.encode_p.table) {
      const uint8_t* table = host(*op.encode_p.table);
      const TwoScales scales = two_scales(table, table[kEncodeTable - 1]);
      p.fine_levels = scales.fine_levels, p.coarse_shift = scales.coarse_shift;
    }
    p.y = matrix<uint8_t>(op.y);
    p.encode = encoder(op.encode, 0);
    note_codes(op.y, &op.encode);
    if (op.logit_code) {
      p.logit_inverse_step = op.logit_code->inverse_step;
      p.logit_step = op.logit_code->step;
    }
    set_logits(op, &p);
    const Launch launch = attention_codes_launch(p, device_);
    add(p, launch, attention_codes_workspace(p, device_));
  }

  void operator()(const AttentionF32Op& op) {
    AttentionF32Params p{};
    set_attention<const float>(op, &p);
    p.scale = array<float>(op.scale, op.heads);
    p.y = matrix<float>(op.y);
    p.probabilities = matrix<float>(op.probabilities);
    add(p, attention_f32_launch(p, device_), attention_f32_workspace(p, device_));
  }

  void operator()(const PatchifyOp& op) {
    PatchifyParams p{};
    p.images = images_;
    p.channels = op.channels;
    p.height = op.x.rows / op.channels;
    p.width = op.x.width;
    p.patch_height = op.patch_height;
    p.patch_width = op.patch_width;
    const Matrix<const float> x = matrix<const float>(op.x);
    p.image = x.data;
    p.image_stride = x.image_stride;
    set_target(op.y, op.encode, &p);
    add(p, patchify_launch(p, device_));
  }

  void operator()(const PointwiseOp& op) {
    PointwiseParams p{};
    set_rows(op.x, uniform(op.x) && uniform(op.y) && uniform(op.factor) && uniform(op.residual), &p);
    p.width = op.x.width;
    p.x = matrix<const float>(op.x);
    p.function = op.function;
    p.gain = array<float>(op.gain, op.x.width);
    p.factor = matrix<const float>(op.factor);
    p.residual = matrix<const float>(op.residual);
    set_target(op.y, op.encode, &p);
    add(p, pointwise_launch(p, device_));
  }

  void operator()(const CopyRowsOp& op) {
    const int element = op.codes ? 1 : sizeof(float);
    copy(op.x, op.y, element, nullptr, 1, 0);
  }

  void operator()(const GatherOp& op) {
    const int32_t* rows = pointer<const int32_t>(constants_.put(op.rows.data(), op.rows.size() * sizeof(int32_t)));
    copy(op.x, op.y, op.element_bytes, rows, op.y.width / op.x.width, static_cast<uint8_t>(op.zero));
  }

  void operator()(const MeanOp& op) {
    MeanParams p{};
    p.images = images_;
    p.rows = op.x.rows;
    p.width = op.x.width;
    if (op.decode) {
      p.x_codes = matrix<const uint8_t>(op.x);
      p.x_offset = op.decode->offset;
      p.scale = op.decode->scale;
    } else {
      p.x_float = matrix<const float>(op.x);
    }
    set_target(op.y, op.encode, &p);
    add(p, mean_launch(p, device_));
  }

  template <class Op>
  void operator()(const Op&) {
    const PlanOp& op = plan_.ops[op_];
    throw std::invalid_argument("plan op '" + op.name + "' (" + op_kind(op) + ") has no CUDA kernel; run it on the CPU");
  }

 private:
  const uint8_t* host(const Constant& constant) const { return host_bytes(plan_, constant); }

  template <class T>
  const T* array(const Constant& constant, size_t count) {
    return pointer<const T>(constants_.put(host(constant), count * sizeof(T)));
  }
  template <class T>
  const T* array(const std::optional<Constant>& constant, size_t count) {
    return constant ? array<T>(*constant, count) : nullptr;
  }

  DevicePointer address(const View& view, size_t element) {
    switch (view.space) {
      case Space::arena:
        return spaces_.arena + view.offset;
      case Space::input:
        return spaces_.input + view.offset;
      case Space::output:
        return spaces_.output + view.offset;
      case Space::blob:
        break;
    }
    // Rows of codes may be read in vectors of 64 bytes, where the blob has them.
    const Blob& blob = *plan_.blobs[view.blob];
    const size_t last = (view.rows - 1) * view.row_stride + (images_ - 1) * view.image_stride;
    const size_t bytes = std::min(last + round_up(view.width * element, 64), blob.size() - size_t(view.offset));
    return constants_.put(blob.data() + view.offset, bytes);
  }

  // A long matrix of single rows goes on from image to image.
  template <class T>
  Matrix<T> matrix(const View& view) {
    const int64_t size = sizeof(T);
    const bool single = view.rows == 1;
    return {pointer<T>(address(view, size)), (single ? view.image_stride : view.row_stride) / size, view.image_stride / size};
  }
  template <class T>
  Matrix<T> matrix(const std::optional<View>& view) {
    return view ? matrix<T>(*view) : Matrix<T>{};
  }

  Encoder encoder(const PlanEncoder& e, int columns) {
    return {e.inverse_step,
            e.low,
            e.high,
            e.offset,
            e.table ? array<uint8_t>(*e.table, kEncodeTable) : nullptr,
            e.inverse_steps ? array<float>(*e.inverse_steps, round_up(columns, 16)) : nullptr,
            e.fine_every};
  }

  template <class Params>
  void set_rows(const View& x, bool all, Params* p) const {
    p->rows = x.rows * images_;
    p->image_rows = all ? p->rows : x.rows;
  }

  template <class Params>
  void place_target(const View& y, const std::optional<PlanEncoder>& encode, Params* p) {
    if (encode) {
      p->y_codes = matrix<uint8_t>(y);
      p->encode = encoder(*encode, y.width);
    } else {
      p->y_float = matrix<float>(y);
    }
  }
  template <class Params>
  void set_target(const View& y, const std::optional<PlanEncoder>& encode, Params* p) {
    place_target(y, encode, p);
    if (encode) note_codes(y, &*encode);
  }

  // This op and those right behind it that can be done with it: layers that read the same rows, such as queries, keys and values.
  template <class Op, class Joins>
  std::vector<const Op*> layers_with(const Op& op, Joins joins) const {
    std::vector<const Op*> layers{&op};
    for (size_t i = op_ + 1; i < plan_.ops.size(); ++i) {
      const Op* next = std::get_if<Op>(&plan_.ops[i].op);
      if (!next || !joins(*next)) break;
      layers.push_back(next);
    }
    return layers;
  }

  // All but the weight.
  LinearCodesParams params_of(const LinearCodesOp& op) {
    LinearCodesParams p{};
    set_rows(op.x, uniform(op.x) && uniform(op.y) && uniform(op.residual), &p);
    p.inputs = op.x.width;
    p.outputs = op.y.width;
    p.x = matrix<const uint8_t>(op.x);
    const size_t padded = round_up(p.outputs, 16);
    p.correction = array<int32_t>(op.correction, padded);
    p.scale = array<float>(op.scale, padded);
    p.bias = array<float>(op.bias, padded);
    p.activation = op.activation;
    p.gain = array<float>(op.gain, padded);
    p.rounds_pre_activation = op.pre_activation.has_value();
    if (op.pre_activation) p.pre_activation = *op.pre_activation;
    p.pre_activation_factors = array<float>(op.pre_activation_factors, padded);
    if (op.residual_code) {
      p.residual_codes = matrix<const uint8_t>(*op.residual);
      p.residual_scale = array<float>(op.residual_code->scale, padded);
      p.residual_offset = op.residual_code->offset;
    } else {
      p.residual = matrix<const float>(op.residual);
    }
    set_known_bytes(op.x, &p);
    place_target(op.y, op.encode, &p);
    return p;
  }

  // Codes were written to y: of an encoder, or who knows which.
  void note_codes(const View& y, const PlanEncoder* encode) {
    if (y.space != Space::arena) return;
    const size_t end = end_of(y);
    const auto overlaps = [&](const Written& other) {
      return size_t(other.view.offset) < end && size_t(y.offset) < end_of(other.view);
    };
    written_.erase(std::remove_if(written_.begin(), written_.end(), overlaps), written_.end());
    if (encode && !encode->table) written_.push_back({y, encode->low + encode->offset, encode->high - encode->low + 1});
  }
  size_t end_of(const View& view) const {
    return view.offset + (images_ - 1) * view.image_stride + (view.rows - 1) * view.row_stride + view.width;
  }

  // Which bytes x holds, when one op wrote all of it.
  void set_known_bytes(const View& x, LinearCodesParams* p) const {
    for (const Written& each : written_) {
      const View& y = each.view;
      if (x.space == Space::arena && x.offset == y.offset && x.rows == y.rows && x.width == y.width &&
          x.row_stride == y.row_stride && x.image_stride == y.image_stride)
        p->x_low = each.low, p->x_levels = each.levels;
    }
  }

  template <class Op, class Params>
  void set_normalised(const Op& op, Params* p) {
    set_rows(op.x, uniform(op.x) && uniform(op.y), p);
    p->width = op.x.width;
    p->gamma = array<float>(op.gamma, op.x.width);
    p->beta = array<float>(op.beta, op.x.width);
    p->eps = op.eps;
    set_target(op.y, op.encode, p);
  }

  template <class T, class Op, class Params>
  void set_attention(const Op& op, Params* p) {
    const int windows = op.windows ? op.windows->count : 1;
    p->images = images_;
    p->heads = op.heads;
    p->tokens = op.q.rows / windows;
    p->head_width = op.q.width / op.heads;
    p->q = matrix<T>(op.q), p->k = matrix<T>(op.k), p->v = matrix<T>(op.v);
    if (!op.windows) return;
    p->windows.count = windows;
    if (!op.windows->rows.empty())
      p->windows.rows =
          pointer<const int32_t>(constants_.put(op.windows->rows.data(), op.windows->rows.size() * sizeof(int32_t)));
    p->windows.bias = array<float>(op.windows->bias, size_t(op.heads) * p->tokens * p->tokens);
    p->windows.regions = array<uint8_t>(op.windows->regions, op.q.rows);
  }

  // Bias and regions in the order of the kernel.
  void set_logits(const AttentionCodesOp& op, AttentionCodesParams* p) {
    const int groups = attention_codes_groups(*p, device_), heads = p->heads, tokens = p->tokens, windows = p->windows.count;
    if (!groups) return;
    const auto host_of = [this](const std::optional<Constant>& constant) { return constant ? host(*constant) : nullptr; };
    const auto* bias = reinterpret_cast<const float*>(op.windows ? host_of(op.windows->bias) : nullptr);
    const uint8_t* regions = op.windows ? host_of(op.windows->regions) : nullptr;
    if (bias)
      p->bias = pointer<const float>(
          constants_.put(bias, attention_codes_bias_floats(heads, tokens, groups) * sizeof(float), 1,
                         [=](uint8_t* to) { attention_codes_bias(bias, heads, tokens, groups, reinterpret_cast<float*>(to)); }));
    p->foreign = pointer<const uint32_t>(constants_.put(
        host(op.logit_scale), attention_codes_foreign_words(windows, tokens, groups) * sizeof(uint32_t), 1,
        [=](uint8_t* to) { attention_codes_foreign(regions, windows, tokens, groups, reinterpret_cast<uint32_t*>(to)); }));
  }

  void copy(const View& x, const View& y, int element, const int32_t* rows, int parts, uint8_t zero) {
    GatherParams p{};
    p.images = images_;
    p.count = y.rows;
    p.parts = parts;
    p.rows = rows;
    p.part_bytes = x.width * element;
    p.x = {pointer<const uint8_t>(address(x, element)), x.row_stride, x.image_stride};
    p.y = {pointer<uint8_t>(address(y, element)), y.row_stride, y.image_stride};
    p.zero = zero;
    if (element == 1) note_codes(y, nullptr);
    add(p, gather_launch(p, device_));
  }

  template <class Params>
  void add(Params p, const Launch& launch, const Workspace& workspace = {}, int ops = 1) {
    static_assert(std::is_trivially_copyable_v<Params> && sizeof(Params) <= 4096, "a kernel takes it by value");
    if constexpr (std::is_same_v<Params, LinearCodesParams> || std::is_same_v<Params, AttentionCodesParams>)
      p.counters = spaces_.counters;
    program_.workspace.bytes = std::max(program_.workspace.bytes, workspace.bytes);
    program_.workspace.counters = std::max(program_.workspace.counters, workspace.counters);
    if constexpr (has_workspace<Params>) p.workspace = spaces_.workspace;
    const auto* bytes = reinterpret_cast<const uint8_t*>(&p);
    program_.steps.push_back({launch, {bytes, bytes + sizeof p}, op_, ops});
  }
  template <class Params>
  static constexpr bool has_workspace =
      std::is_same_v<Params, LinearCodesParams> || std::is_same_v<Params, AttentionCodesParams> ||
      std::is_same_v<Params, AttentionF32Params>;

  const Plan& plan_;
  const int images_;
  const Spaces& spaces_;
  const Device& device_;
  Constants& constants_;
  // Codes in the arena that one op wrote, and which bytes those are.
  struct Written {
    View view;
    int low, levels;
  };
  std::vector<Written> written_;
  size_t op_ = 0;
  Program program_;
};

}  // namespace

Program bind(const Plan& plan, int images, const Spaces& spaces, const Device& device, Constants& constants) {
  return Binder(plan, images, spaces, device, constants).bind();
}

void check_kernels(const Plan& plan, const Device& device) {
  Constants constants;
  bind(plan, 1, kNowhere, device, constants);
}

}  // namespace fewbit::cuda
