// How an op meets a batch. Kernels take one matrix; the images of a pass are either one long matrix, where the rows of all
// images lie at one distance in every operand, or as many calls as images, whose tasks are dealt out together.
// Attention knows images by itself.
#include "plan/executor.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "plan/bind.h"

namespace fewbit {
namespace {

bool uniform(const View& view) { return view.rows == 1 || view.image_stride == view.rows * view.row_stride; }
bool uniform(const std::optional<View>& view) { return !view || uniform(*view); }

// As many groups of rows as threads, so that each has rows of its own, or nearly.
template <class Op>
void group_rows(Op* op, int threads) {
  if constexpr (std::is_same_v<Op, LinearCodes> || std::is_same_v<Op, LinearF32>) op->row_groups = threads;
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
      auto op = bind(plan, pass_, Rows{0, true, pass_.images});
      group_rows(&op, threads_);
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

size_t scratch_of(const LinearCodesOp& op) { return linear_codes_scratch(op.x.width); }
size_t scratch_of(const AttentionCodesOp& op) { return attention_codes_scratch(tokens(op), op.q.width / op.heads); }
size_t scratch_of(const AttentionF32Op& op) { return attention_f32_scratch(tokens(op), op.q.width / op.heads); }
size_t scratch_of(const AttentionGradientOp& op) { return attention_gradient_scratch(tokens(op), op.q.width / op.heads); }
template <class Op>
size_t scratch_of(const Op&) {
  return 0;
}

size_t whole_lines(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

size_t scratch_of(const Plan& plan) {
  size_t most = kAlignment;
  for (const PlanOp& op : plan.ops) most = std::max(most, std::visit([](const auto& kind) { return scratch_of(kind); }, op.op));
  return whole_lines(most);
}

std::vector<const MappedFile*> files_of(const Plan& plan) {
  std::vector<const MappedFile*> files;
  for (const std::shared_ptr<Blob>& blob : plan.blobs)
    if (blob->file() && std::find(files.begin(), files.end(), blob->file()) == files.end()) files.push_back(blob->file());
  return files;
}

Plan prepared(Plan plan, const Kernels& kernels) {
  validate(plan);
  if (kernels.bias_by_key) exchange_biases(&plan);
  return plan;
}

// Observers count on from image to image, and sums go to one place.
bool in_order(const Plan& plan) {
  return std::any_of(plan.ops.begin(), plan.ops.end(), [](const PlanOp& op) {
    return std::holds_alternative<ObserveOp>(op.op) || std::holds_alternative<ProductSumOp>(op.op);
  });
}

}  // namespace

// What the passes of a run have in common.
struct Executor::Passes {
  using Clock = std::chrono::steady_clock;

  Team& team;
  const RunArguments& arguments;
  const std::atomic<bool>& stop;
  const std::function<void(int64_t images)>& progress;
  std::mutex mutex{};
  int64_t done = 0;

  bool stopped() const { return stop.load(std::memory_order_relaxed); }
  Clock::time_point begin() const { return arguments.nanoseconds ? Clock::now() : Clock::time_point(); }
  // Of an op, on which a part of the threads worked.
  void end(size_t op, Clock::time_point begun, double part) {
    if (!arguments.nanoseconds) return;
    const double nanoseconds = std::chrono::duration<double, std::nano>(Clock::now() - begun).count();
    std::lock_guard<std::mutex> lock(mutex);
    arguments.nanoseconds[op] += part * nanoseconds;
  }
  void finished(int images) {
    std::lock_guard<std::mutex> lock(mutex);
    if (!stopped()) progress(done += images);
  }
};

Executor::Executor(Plan plan, const Kernels& kernels, int threads)
    : plan_(prepared(std::move(plan), kernels)),
      kernels_(kernels),
      thread_scratch_(scratch_of(plan_)),
      files_(files_of(plan_)),
      bias_bytes_(exchanged_bytes(plan_)),
      in_order_(in_order(plan_)),
      arena_stride_(whole_lines(plan_.arena_bytes)) {
  make_room(std::max(1, threads));
}

// Arenas are pages that nobody has touched until a thread makes a pass in them. Where there is no room for all, one does.
void Executor::make_room(int threads) {
  if (scratch_.size() < threads * thread_scratch_) scratch_ = AlignedBuffer(threads * thread_scratch_);
  const int arenas = in_order_ ? 1 : threads;
  if (arenas_made_ >= arenas) return;
  try {
    arenas_ = AlignedBuffer(arenas * arena_stride_);
    arenas_made_ = arenas;
  } catch (const std::bad_alloc&) {
    if (arenas_made_ > 0) return;
    arenas_ = AlignedBuffer(arena_stride_);
    arenas_made_ = 1;
  }
}

bool Executor::run(Team& team, const RunArguments& arguments, const std::atomic<bool>& stop,
                   const std::function<void(int64_t images)>& progress) {
  const int threads = std::max(1, arguments.threads);
  make_room(threads);
  Passes passes{team, arguments, stop, progress};
  int first = 0;
  for (int size; (size = images_apart(arguments.images - first, threads)) > 0 && !passes.stopped();) {
    const int count = (arguments.images - first) / size / threads * threads;
    team.parallel_for_long(count, threads,
                           [&](int pass, int thread) { make_pass(passes, first + pass * size, size, thread, 1); });
    first += count * size;
  }
  for (; first < arguments.images && !passes.stopped(); first += plan_.batch)
    make_pass(passes, first, std::min(plan_.batch, arguments.images - first), 0, threads);
  return !passes.stopped();
}

// The size of passes that each thread makes by itself, of so many images; 0: there are too few.
int Executor::images_apart(int images, int threads) const {
  return in_order_ || arenas_made_ < threads ? 0 : std::min(plan_.batch, images / threads);
}

// On all threads, or, where `threads` is 1, on `thread` alone.
void Executor::make_pass(Passes& passes, int first, int images, int thread, int threads) const {
  const RunArguments& arguments = passes.arguments;
  const Pass pass{plan_, arenas_.data() + thread * arena_stride_,
                  static_cast<const uint8_t*>(arguments.input) + first * plan_.input_bytes,
                  static_cast<uint8_t*>(arguments.output) + first * plan_.output_bytes, images};
  const OpRun op_run(pass, kernels_, passes.team, threads, scratch_.data() + thread * thread_scratch_, thread_scratch_,
                     passes.stop);
  const double part = double(threads) / std::max(1, arguments.threads);
  for (size_t i = 0; i < plan_.ops.size(); ++i) {
    if (passes.stopped()) return;
    const auto begun = passes.begin();
    std::visit(op_run, plan_.ops[i].op);
    passes.end(i, begun, part);
  }
  if (passes.stopped()) return;
  for (const MappedFile* file : files_)
    if (!file->intact()) throw std::runtime_error(kFileChanged);
  passes.finished(images);
}

}  // namespace fewbit
