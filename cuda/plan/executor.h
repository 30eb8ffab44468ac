// Runs a plan on a CUDA device, `batch` images at a time. Constants and the arena stay there; only inputs and outputs cross.
#pragma once

#include <memory>

#include "cuda/driver/context.h"
#include "plan/runner.h"

namespace fewbit::cuda {

class Executor : public Runner {
 public:
  // Touches no device memory yet: that is done by the first run, on whose thread it may take its time.
  // Throws std::invalid_argument when the plan does not hold (plan.h) or has an op without a kernel.
  Executor(Plan plan, Context& context);
  ~Executor() override;

  // Looks at `stop` before every pass. Throws DriverError; after a fatal one the next run starts afresh on a new context.
  bool run(Team& team, const RunArguments& arguments, const std::atomic<bool>& stop,
           const std::function<void(int64_t images)>& progress) override;

  const Plan& plan() const override { return plan_; }
  size_t memory() const override { return 0; }

 private:
  class State;
  void release();

  const Plan plan_;
  Context& context_;
  std::unique_ptr<State> state_;  // null before the first run, and after one that failed
  unsigned generation_ = 0;       // of the context that it belongs to
};

}  // namespace fewbit::cuda
