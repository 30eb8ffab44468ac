#include "cuda/plan/executor.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <utility>

#include "cuda/driver/memory.h"
#include "cuda/plan/binder.h"
#include "cuda/plan/graph.h"

namespace fewbit::cuda {
namespace {

// Of the input, a thread: what is copied in the time that it takes to wake it.
constexpr size_t kCopyBytes = size_t(1) << 20;

constexpr size_t kAlignment = 256;
size_t round_up(int64_t bytes) { return (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment; }

Plan checked(Plan plan, const Device& device) {
  validate(plan);
  check_kernels(plan, device);
  return plan;
}

}  // namespace

// What a session has on the device. Made, used and destroyed in a scope of the context.
class Executor::State {
 public:
  State(const Plan& plan, Context& context) : plan_(plan), context_(context) {
    bind(plan, plan.batch, kNowhere, context.device(), constants_);
    constants_.upload(context, stream_);
    for (const std::shared_ptr<Blob>& blob : plan.blobs)
      if (blob->file() && !blob->file()->intact()) throw std::runtime_error(kFileChanged);
    const size_t arena = round_up(plan.arena_bytes), input = round_up(plan.batch * plan.input_bytes),
                 output = round_up(plan.batch * plan.output_bytes);
    memory_ = zeroed(arena + input + output);  // padding of rows is read
    spaces_.arena = memory_.address();
    spaces_.input = spaces_.arena + arena;
    spaces_.output = spaces_.input + input;
    input_ = PinnedBuffer(plan.batch * plan.input_bytes);
    output_ = PinnedBuffer(plan.batch * plan.output_bytes);
  }

  // The images of one pass. copy(to, from, bytes) is for the input.
  template <class Copy>
  void run(const uint8_t* input, uint8_t* output, int images, double* nanoseconds, Copy copy) {
    const size_t input_bytes = images * plan_.input_bytes, output_bytes = images * plan_.output_bytes;
    copy(input_.data(), input, input_bytes);
    Pass& pass = pass_of(images);
    if (nanoseconds)
      measure(pass, images, nanoseconds);
    else if (pass.graph)
      pass.graph->launch(stream_);
    else if (pass.runs++ == 0)
      enqueue(pass, images);
    else
      (pass.graph = std::make_unique<Graph>(stream_, [&] { enqueue(pass, images); }))->launch(stream_);
    stream_.synchronize();
    std::memcpy(output, output_.data(), output_bytes);
  }

 private:
  // The launches for one number of images: made directly the first time, then as a graph.
  struct Pass {
    Program program;
    int runs = 0;
    std::unique_ptr<Graph> graph;
  };

  Pass& pass_of(int images) {
    const auto at = passes_.find(images);
    if (at != passes_.end()) return at->second;
    // Runs of ever other lengths would keep ever more of them.
    if (passes_.size() == kMostPasses) passes_.clear();
    Program program = bind(plan_, images, spaces_, context_.device(), constants_);
    if (program.workspace.bytes > workspace_bytes_ || program.workspace.counters > counters_) {
      grow(program.workspace);
      program = bind(plan_, images, spaces_, context_.device(), constants_);
    }
    return passes_[images] = Pass{std::move(program), 0, nullptr};
  }

  // Fewer images may want more workspace than many. What was bound before has the address of the old one.
  void grow(const Workspace& wanted) {
    passes_.clear();
    workspace_bytes_ = std::max(workspace_bytes_, wanted.bytes);
    counters_ = std::max(counters_, wanted.counters);
    const size_t bytes = round_up(static_cast<int64_t>(workspace_bytes_));
    workspace_ = DeviceBuffer();
    workspace_ = zeroed(bytes + counters_ * sizeof(unsigned));
    spaces_.workspace = reinterpret_cast<uint8_t*>(workspace_.address());
    spaces_.counters = reinterpret_cast<unsigned*>(workspace_.address() + bytes);
  }

  DeviceBuffer zeroed(size_t bytes) {
    DeviceBuffer buffer(bytes, context_, stream_);
    if (bytes) FEWBIT_CUDA(fill, buffer.address(), 0, bytes, stream_.handle());
    return buffer;
  }

  void copy_in(int images) {
    const size_t bytes = images * plan_.input_bytes;
    if (bytes) FEWBIT_CUDA(copy_to_device, spaces_.input, input_.data(), bytes, stream_.handle());
  }
  void copy_out(int images) {
    const size_t bytes = images * plan_.output_bytes;
    if (bytes) FEWBIT_CUDA(copy_to_host, output_.data(), spaces_.output, bytes, stream_.handle());
  }

  void launch(const Step& step) {
    const auto& [gx, gy, gz] = step.launch.grid;
    const auto& [bx, by, bz] = step.launch.block;
    void* params[] = {const_cast<uint8_t*>(step.params.data())};
    const FunctionHandle function = context_.function(step.launch);
    const Result result = api().launch(function, gx, gy, gz, bx, by, bz, step.launch.shared, stream_.handle(), params, nullptr);
    if (result != kSuccess) throw DriverError(result, "op '" + plan_.ops[step.op].name + "' (" + step.launch.kernel + ")");
  }

  void enqueue(const Pass& pass, int images) {
    copy_in(images);
    for (const Step& step : pass.program.steps) launch(step);
    copy_out(images);
  }

  // Every launch between two events, whose distance is what it took.
  void measure(const Pass& pass, int images, double* nanoseconds) {
    copy_in(images);
    std::vector<Event> events(pass.program.steps.size() + 1);
    events[0].record(stream_);
    for (size_t i = 0; i < pass.program.steps.size(); ++i) {
      launch(pass.program.steps[i]);
      events[i + 1].record(stream_);
    }
    copy_out(images);
    stream_.synchronize();
    for (size_t i = 0; i < pass.program.steps.size(); ++i) {
      const Step& step = pass.program.steps[i];
      const double each = events[i].milliseconds_until(events[i + 1]) * 1e6 / step.ops;
      for (int op = 0; op < step.ops; ++op) nanoseconds[step.op + op] += each;
    }
  }

  static constexpr size_t kMostPasses = 8;

  const Plan& plan_;
  Context& context_;
  // Destroyed last, after what is freed in its order.
  Stream stream_;
  Constants constants_;
  DeviceBuffer memory_, workspace_;
  Spaces spaces_{};
  size_t workspace_bytes_ = 0, counters_ = 0;
  PinnedBuffer input_, output_;
  std::map<int, Pass> passes_;
};

Executor::Executor(Plan plan, Context& context) : plan_(checked(std::move(plan), context.device())), context_(context) {}

Executor::~Executor() { release(); }

// Memory of a lost context went with it: the addresses may be others' by now.
void Executor::release() {
  if (!state_) return;
  const std::lock_guard<std::recursive_mutex> lock(context_.mutex());
  if (generation_ != context_.generation()) {
    state_.release();
    return;
  }
  try {
    const Context::Scope scope(context_);
    state_.reset();
  } catch (const std::exception&) {
    state_.release();
  }
}

bool Executor::run(Team& team, const RunArguments& arguments, const std::atomic<bool>& stop,
                   const std::function<void(int64_t images)>& progress) {
  try {
    if (state_ && generation_ != context_.generation()) release();
    const Context::Scope scope(context_);
    if (!state_) {
      generation_ = context_.generation();
      state_ = std::make_unique<State>(plan_, context_);
    }
    const auto copy = [&](uint8_t* to, const uint8_t* from, size_t bytes) {
      team.parallel_for(static_cast<int>((bytes + kCopyBytes - 1) / kCopyBytes), arguments.threads, [&](int task, int) {
        const size_t begin = task * kCopyBytes;
        std::memcpy(to + begin, from + begin, std::min(kCopyBytes, bytes - begin));
      });
    };
    for (int first = 0; first < arguments.images; first += plan_.batch) {
      if (stop.load(std::memory_order_relaxed)) return false;
      const int images = std::min(plan_.batch, arguments.images - first);
      state_->run(static_cast<const uint8_t*>(arguments.input) + first * plan_.input_bytes,
                  static_cast<uint8_t*>(arguments.output) + first * plan_.output_bytes, images, arguments.nanoseconds, copy);
      progress(first + images);
    }
    return true;
  } catch (const DriverError& error) {
    if (error.fatal()) context_.reset();
    release();
    throw;
  }
}

}  // namespace fewbit::cuda
