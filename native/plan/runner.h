// What runs plans: the executor of the CPU, and that of CUDA devices (cuda/plan/executor.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "plan/plan.h"
#include "plan/threads.h"

namespace fewbit {

constexpr int kMaxImages = 1 << 30;

struct RunArguments {
  const void* input;  // images * input_bytes
  void* output;       // images * output_bytes
  int images;         // at most kMaxImages
  int threads;
  // One number an op, to which the nanoseconds of all its calls are added; null: nobody measures.
  double* nanoseconds = nullptr;
};

class Runner {
 public:
  virtual ~Runner() = default;

  // One run at a time. Looks at `stop` before every task (on a CUDA device before every pass), and then leaves the output
  // unfinished and returns false.
  // progress: images done, after each pass, from any thread of the team, one call at a time.
  virtual bool run(Team& team, const RunArguments& arguments, const std::atomic<bool>& stop,
                   const std::function<void(int64_t images)>& progress) = 0;

  virtual const Plan& plan() const = 0;
  // Bytes of host memory that a pass works in; always the same.
  virtual size_t memory() const = 0;
};

}  // namespace fewbit
