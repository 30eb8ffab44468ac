// How an op meets a batch. Kernels take one matrix; the images of a pass are either one long matrix, where the rows of all
// images lie at one distance in every operand, or as many calls as images, whose tasks are dealt out together.
// Attention knows images by itself.
#include "plan/executor.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "plan/bind.h"

namespace fewbit {
namespace {

bool uniform(const View& view) { return view.rows == 1 || view.image_stride == view.rows * view.row_stride; }
bool uniform(const std::optional<View>& view) { return !view || uniform(*view); }

// Rows in as many groups as threads share them.
void group_rows(LinearCodes* op, int threads) { op->row_groups = threads; }
void group_rows(LinearF32* op, int threads) { op->row_groups = threads; }
template <class Op>
void group_rows(Op*, int) {}

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

// Observers count on from image to image, and sums go to one place.
bool in_order(const Plan& plan) {
  return std::any_of(plan.ops.begin(), plan.ops.end(), [](const PlanOp& op) {
    return std::holds_alternative<ObserveOp>(op.op) || std::holds_alternative<ProductSumOp>(op.op);
  });
}

}  // namespace

// What the passes of a run have in common.
struct Executor::Run {
  using Clock = std::chrono::steady_clock;

  Team& team;
  const RunArguments& arguments;
  const std::atomic<bool>& stop;
  const std::function<void(int64_t images)>& progress;
  std::mutex mutex{};
  int64_t done = 0;

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
    progress(done += images);
  }
};

Executor::Executor(Plan plan, const Kernels& kernels, int threads)
    : plan_(validated(std::move(plan))),
      kernels_(kernels),
      thread_scratch_(scratch_of(plan_)),
      files_(files_of(plan_)),
      in_order_(in_order(plan_)) {
  make_room(std::max(1, threads));
}

void Executor::make_room(int threads) {
  while (static_cast<int>(arenas_.size()) < (in_order_ ? 1 : threads)) arenas_.emplace_back(plan_.arena_bytes);
  if (scratch_.size() < threads * thread_scratch_) scratch_ = AlignedBuffer(threads * thread_scratch_);
}

bool Executor::run(Team& team, const RunArguments& arguments, const std::atomic<bool>& stop,
                   const std::function<void(int64_t images)>& progress) {
  const int images = arguments.images, threads = std::max(1, arguments.threads);
  make_room(threads);
  Run run{team, arguments, stop, progress};
  const int size = in_order_ ? 0 : std::min(plan_.batch, images / threads);
  const int passes = size ? images / size / threads * threads : 0;
  team.parallel_for(passes, threads, [&](int pass, int thread) { run_pass(run, pass * size, size, thread, 1); });
  for (int first = passes * size; first < images; first += plan_.batch)
    run_pass(run, first, std::min(plan_.batch, images - first), 0, threads);
  return !stop.load(std::memory_order_relaxed);
}

// On `threads` threads, or on `thread` alone.
void Executor::run_pass(Run& run, int first, int images, int thread, int threads) const {
  const Pass pass{plan_, arenas_[thread].data(), static_cast<const uint8_t*>(run.arguments.input) + first * plan_.input_bytes,
                  static_cast<uint8_t*>(run.arguments.output) + first * plan_.output_bytes, images};
  const OpRun op_run(pass, kernels_, run.team, threads, scratch_.data() + thread * thread_scratch_, thread_scratch_, run.stop);
  const double part = double(threads) / std::max(1, run.arguments.threads);
  for (size_t i = 0; i < plan_.ops.size(); ++i) {
    if (run.stop.load(std::memory_order_relaxed)) return;
    const auto begun = run.begin();
    std::visit(op_run, plan_.ops[i].op);
    run.end(i, begun, part);
  }
  for (const MappedFile* file : files_)
    if (!file->intact()) throw std::runtime_error(kFileChanged);
  if (!run.stop.load(std::memory_order_relaxed)) run.finished(images);
}

}  // namespace fewbit
