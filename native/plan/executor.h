// Runs a plan over images, `batch` at a time, each op divided among the threads of a team.
#pragma once

#include "cpu/kernels.h"
#include "plan/blob.h"
#include "plan/runner.h"

namespace fewbit {

class Executor : public Runner {
 public:
  // Throws std::invalid_argument when the plan does not hold (plan.h), std::bad_alloc without memory for its arena and for the
  // scratch of `threads` threads.
  Executor(Plan plan, const Kernels& kernels, int threads);

  // Looks at `stop` before every task. Allocates nothing unless there are more threads than ever before. Throws
  // std::runtime_error when a mapped file was changed: the output is worth nothing.
  bool run(Team& team, const RunArguments& arguments, const std::atomic<bool>& stop,
           const std::function<void(int64_t images)>& progress) override;

  const Plan& plan() const override { return plan_; }
  size_t memory() const override { return arena_.size(); }

 private:
  const Plan plan_;
  const Kernels& kernels_;
  const size_t thread_scratch_;                 // the largest that an op wants, a multiple of 64
  const std::vector<const MappedFile*> files_;  // that blobs of the plan are parts of
  AlignedBuffer arena_;
  AlignedBuffer scratch_;  // kept between runs
};

}  // namespace fewbit
