// Runs a plan over images, `batch` at a time, each op divided among the threads of a team.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "cpu/kernels.h"
#include "plan/blob.h"
#include "plan/plan.h"
#include "plan/threads.h"

namespace fewbit {

constexpr int kMaxImages = 1 << 30;

struct RunArguments {
  const void* input;  // images * input_bytes
  void* output;       // images * output_bytes
  int images;         // at most kMaxImages
  int threads;
  // One number an op, to which the nanoseconds (wall) of all its calls are added; null: nobody measures.
  double* nanoseconds = nullptr;
};

class Executor {
 public:
  // Throws std::invalid_argument when the plan does not hold (plan.h), std::bad_alloc without memory for its arena and for the
  // scratch of `threads` threads.
  Executor(Plan plan, const Kernels& kernels, int threads);

  // One run at a time. Looks at `stop` before every task, and then leaves the output unfinished and returns false.
  // progress: images done, after each pass. Allocates nothing unless there are more threads than ever before. Throws
  // std::runtime_error when a mapped file was changed: the output is worth nothing.
  bool run(Team& team, const RunArguments& arguments, const std::atomic<bool>& stop,
           const std::function<void(int64_t images)>& progress);

  const Plan& plan() const { return plan_; }
  size_t memory() const { return arena_.size(); }

 private:
  const Plan plan_;
  const Kernels& kernels_;
  const size_t thread_scratch_;                 // the largest that an op wants, a multiple of 64
  const std::vector<const MappedFile*> files_;  // that blobs of the plan are parts of
  AlignedBuffer arena_;
  AlignedBuffer scratch_;  // kept between runs
};

}  // namespace fewbit
