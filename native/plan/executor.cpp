// How an op meets a batch. Kernels take one matrix; the images of a pass are either one long matrix, where the rows of all
// images lie at one distance in every operand, or as many calls as images, whose tasks are dealt out together.
// Attention knows images by itself.
#include "plan/executor.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

namespace fewbit {
namespace {

// Where the images [first, first + images) of a run lie.
struct Pass {
  const Plan& plan;
  uint8_t* arena;
  const uint8_t* input;
  uint8_t* output;
  int images;
};

const uint8_t* at(const Pass& pass, const View& view, int image) {
  const ptrdiff_t offset = view.offset + image * view.image_stride;
  switch (view.space) {
    case Space::arena:
      return pass.arena + offset;
    case Space::input:
      return pass.input + offset;
    case Space::output:
      return pass.output + offset;
    case Space::blob:
      break;
  }
  return pass.plan.blobs[view.blob]->data() + offset;
}

template <class T>
T* pointer(const Pass& pass, const View& view, int image) {
  return reinterpret_cast<T*>(const_cast<uint8_t*>(at(pass, view, image)));
}

template <class T = float>
T* pointer(const Pass& pass, const Constant& constant) {
  return reinterpret_cast<T*>(pass.plan.blobs[constant.blob]->data() + constant.offset);
}

Encoder encoder(const Pass& pass, const PlanEncoder& e) {
  return {e.inverse_step,
          e.low,
          e.high,
          e.offset,
          e.table ? pointer<uint8_t>(pass, *e.table) : nullptr,
          e.inverse_steps ? pointer(pass, *e.inverse_steps) : nullptr};
}

bool uniform(const View& view) { return view.rows == 1 || view.image_stride == view.rows * view.row_stride; }
bool uniform(const std::optional<View>& view) { return !view || uniform(*view); }

// The images from `first` of a pass as one matrix; `all` when that is every image.
struct Rows {
  int first;
  bool all;
  int images;

  int count(const View& view) const { return view.rows * images; }
  template <class T>
  ptrdiff_t stride(const View& view) const {
    return (all && view.rows == 1 ? view.image_stride : view.row_stride) / ptrdiff_t(sizeof(T));
  }
};

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

AttentionWindows windows(const Pass& pass, const std::optional<PlanWindows>& plan) {
  if (!plan) return {};
  AttentionWindows windows;
  windows.count = plan->count;
  windows.rows = plan->rows.empty() ? nullptr : plan->rows.data();
  windows.bias = plan->bias ? pointer(pass, *plan->bias) : nullptr;
  windows.regions = plan->regions ? pointer<uint8_t>(pass, *plan->regions) : nullptr;
  return windows;
}

template <class Op>
int tokens(const Op& op) {
  return op.q.rows / (op.windows ? op.windows->count : 1);
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

AttentionF32 bind(const AttentionF32Op& plan, const Pass& pass) { return bind_float_attention<AttentionF32>(plan, pass); }

AttentionGradient bind(const AttentionGradientOp& plan, const Pass& pass) {
  AttentionGradient op = bind_float_attention<AttentionGradient>(plan, pass);
  op.gradient = pointer<const float>(pass, plan.gradient, 0);
  op.gradient_stride = plan.gradient.row_stride / ptrdiff_t(sizeof(float));
  op.gradient_image_stride = plan.gradient.image_stride / ptrdiff_t(sizeof(float));
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

// One op of one pass, on a team.
class OpRun {
 public:
  OpRun(const Pass& pass, const Kernels& kernels, Team& team, int threads, uint8_t* scratch, size_t thread_scratch,
        const std::atomic<bool>& stop)
      : pass_(pass),
        kernels_(kernels),
        team_(team),
        threads_(threads),
        scratch_(scratch),
        thread_scratch_(thread_scratch),
        stop_(stop) {}

  void operator()(const LinearCodesOp& plan) const {
    const bool all = uniform(plan.x) && uniform(plan.y) && uniform(plan.residual);
    matrices(
        plan, all, [](const LinearCodes& op) { return linear_tasks(op.rows, op.outputs); }, kernels_.linear_codes);
  }
  void operator()(const LinearF32Op& plan) const {
    const bool all = uniform(plan.x) && uniform(plan.y) && uniform(plan.residual);
    matrices(
        plan, all, [](const LinearF32& op) { return linear_tasks(op.rows, op.outputs); }, kernels_.linear_f32);
  }
  void operator()(const LayerNormOp& plan) const {
    const bool all = uniform(plan.x) && uniform(plan.y);
    matrices(
        plan, all, [](const LayerNorm& op) { return layernorm_tasks(op.rows); }, kernels_.layernorm);
  }
  void operator()(const LayerNormCodesOp& plan) const {
    const bool all = uniform(plan.x) && uniform(plan.y);
    matrices(
        plan, all, [](const LayerNormCodes& op) { return layernorm_tasks(op.rows); }, kernels_.layernorm_codes);
  }
  void operator()(const PatchifyOp& plan) const {
    matrices(
        plan, false, [](const Patchify& op) { return patchify_tasks(op.height, op.patch_height); }, kernels_.patchify);
  }
  void operator()(const PointwiseOp& plan) const {
    const bool all = uniform(plan.x) && uniform(plan.y) && uniform(plan.factor) && uniform(plan.residual);
    matrices(
        plan, all, [](const Pointwise& op) { return pointwise_tasks(op.rows); }, kernels_.pointwise);
  }
  void operator()(const LayerNormGradientOp& plan) const {
    const bool all = uniform(plan.x) && uniform(plan.gradient) && uniform(plan.y) && uniform(plan.residual);
    matrices(
        plan, all, [](const LayerNormGradient& op) { return layernorm_gradient_tasks(op.rows); }, kernels_.layernorm_gradient);
  }
  void operator()(const CopyRowsOp& plan) const {
    matrices(
        plan, false, [](const CopyRows&) { return 1; }, [](const CopyRows& op, int, void*) { copy_rows_reference(op); });
  }
  void operator()(const GatherOp& plan) const {
    matrices(
        plan, false, [](const Gather& op) { return gather_tasks(op.count); },
        [](const Gather& op, int task, void*) { gather_reference(op, task); });
  }
  void operator()(const MeanOp& plan) const {
    matrices(
        plan, false, [](const Mean& op) { return mean_tasks(op.width); },
        [](const Mean& op, int task, void*) { mean_reference(op, task); });
  }
  // Image after image: their sums go to one place.
  void operator()(const ProductSumOp& plan) const {
    const bool all = uniform(plan.a) && uniform(plan.b);
    for (int image = 0; image < (all ? 1 : pass_.images); ++image) {
      const ProductSum op = bind(plan, pass_, all ? Rows{0, true, pass_.images} : Rows{image, false, 1});
      deal(product_sum_tasks(op.a_width, op.b_width), [&](int task, void* scratch) { kernels_.product_sum(op, task, scratch); });
    }
  }
  // In the order of the images: the state counts on.
  void operator()(const ObserveOp& plan) const {
    deal(1, [&](int, void*) {
      for (int image = 0; image < pass_.images; ++image) observe_reference(bind(plan, pass_, Rows{image, false, 1}));
    });
  }
  void operator()(const AttentionCodesOp& plan) const { attention(bind(plan, pass_), kernels_.attention_codes); }
  void operator()(const AttentionF32Op& plan) const { attention(bind(plan, pass_), kernels_.attention_f32); }
  void operator()(const AttentionGradientOp& plan) const { attention(bind(plan, pass_), kernels_.attention_gradient); }

 private:
  template <class Fn>
  void deal(int tasks, Fn fn) const {
    team_.parallel_for(tasks, threads_, [&](int task, int thread) {
      if (!stop_.load(std::memory_order_relaxed)) fn(task, scratch_ + thread * thread_scratch_);
    });
  }

  template <class Kind, class Tasks, class Kernel>
  void matrices(const Kind& plan, bool all, Tasks tasks, Kernel kernel) const {
    if (all) {
      const auto op = bind(plan, pass_, Rows{0, true, pass_.images});
      deal(tasks(op), [&](int task, void* scratch) { kernel(op, task, scratch); });
      return;
    }
    const int image_tasks = tasks(bind(plan, pass_, Rows{0, false, 1}));
    deal(image_tasks * pass_.images, [&](int task, void* scratch) {
      kernel(bind(plan, pass_, Rows{task / image_tasks, false, 1}), task % image_tasks, scratch);
    });
  }

  template <class Op, class Kernel>
  void attention(const Op& op, Kernel kernel) const {
    deal(attention_tasks(op), [&](int task, void* scratch) { kernel(op, task, scratch); });
  }

  const Pass& pass_;
  const Kernels& kernels_;
  Team& team_;
  const int threads_;
  uint8_t* const scratch_;
  const size_t thread_scratch_;
  const std::atomic<bool>& stop_;
};

// Adds the time until its end to a sum, or does nothing.
class Stopwatch {
 public:
  explicit Stopwatch(double* nanoseconds) : nanoseconds_(nanoseconds) {
    if (nanoseconds_) start_ = std::chrono::steady_clock::now();
  }
  ~Stopwatch() {
    if (!nanoseconds_) return;
    *nanoseconds_ += std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start_).count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double* const nanoseconds_;
  std::chrono::steady_clock::time_point start_;
};

size_t scratch_of(const LinearCodesOp& op) { return linear_codes_scratch(op.x.width); }
size_t scratch_of(const AttentionCodesOp& op) { return attention_codes_scratch(tokens(op), op.q.width / op.heads); }
size_t scratch_of(const AttentionF32Op& op) { return attention_f32_scratch(tokens(op), op.q.width / op.heads); }
size_t scratch_of(const AttentionGradientOp& op) { return attention_gradient_scratch(tokens(op), op.q.width / op.heads); }
template <class Op>
size_t scratch_of(const Op&) {
  return 0;
}

size_t scratch_of(const Plan& plan) {
  size_t most = kAlignment;
  for (const PlanOp& op : plan.ops) most = std::max(most, std::visit([](const auto& kind) { return scratch_of(kind); }, op.op));
  return (most + kAlignment - 1) / kAlignment * kAlignment;
}

std::vector<const MappedFile*> files_of(const Plan& plan) {
  std::vector<const MappedFile*> files;
  for (const std::shared_ptr<Blob>& blob : plan.blobs)
    if (blob->file() && std::find(files.begin(), files.end(), blob->file()) == files.end()) files.push_back(blob->file());
  return files;
}

Plan validated(Plan plan) {
  validate(plan);
  return plan;
}

}  // namespace

Executor::Executor(Plan plan, const Kernels& kernels, int threads)
    : plan_(validated(std::move(plan))),
      kernels_(kernels),
      thread_scratch_(scratch_of(plan_)),
      files_(files_of(plan_)),
      arena_(plan_.arena_bytes),
      scratch_(std::max(1, threads) * thread_scratch_) {}

bool Executor::run(Team& team, const RunArguments& arguments, const std::atomic<bool>& stop,
                   const std::function<void(int64_t images)>& progress) {
  const int threads = std::max(1, arguments.threads);
  if (scratch_.size() < threads * thread_scratch_) scratch_ = AlignedBuffer(threads * thread_scratch_);
  for (int first = 0; first < arguments.images; first += plan_.batch) {
    const Pass pass{plan_, arena_.data(), static_cast<const uint8_t*>(arguments.input) + first * plan_.input_bytes,
                    static_cast<uint8_t*>(arguments.output) + first * plan_.output_bytes,
                    std::min(plan_.batch, arguments.images - first)};
    const OpRun run(pass, kernels_, team, threads, scratch_.data(), thread_scratch_, stop);
    for (size_t i = 0; i < plan_.ops.size(); ++i) {
      if (stop.load(std::memory_order_relaxed)) return false;
      const Stopwatch stopwatch(arguments.nanoseconds ? arguments.nanoseconds + i : nullptr);
      std::visit(run, plan_.ops[i].op);
    }
    if (stop.load(std::memory_order_relaxed)) return false;
    for (const MappedFile* file : files_)
      if (!file->intact()) throw std::runtime_error(kFileChanged);
    progress(first + pass.images);
  }
  return true;
}

}  // namespace fewbit
