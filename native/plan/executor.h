// Runs a plan over images, at most `batch` in a pass. While there is an image for every thread of a team, each makes passes of
// its own, in an arena of its own: nobody waits, and no cache fetches what another wrote. The images behind those, and all of a
// plan that counts from image to image, go through one pass after the other, each op divided among all threads.
#pragma once

#include <vector>

#include "cpu/kernels.h"
#include "plan/blob.h"
#include "plan/runner.h"

namespace fewbit {

class Executor : public Runner {
 public:
  // Throws std::invalid_argument when the plan does not hold (plan.h), std::bad_alloc without memory for an arena and for the
  // scratch of `threads` threads.
  Executor(Plan plan, const Kernels& kernels, int threads);

  // Looks at `stop` before every task. Allocates nothing unless there are more threads than ever before. Throws
  // std::runtime_error when a mapped file was changed: the output is worth nothing.
  bool run(Team& team, const RunArguments& arguments, const std::atomic<bool>& stop,
           const std::function<void(int64_t images)>& progress) override;

  const Plan& plan() const override { return plan_; }
  size_t memory() const override { return static_cast<size_t>(plan_.arena_bytes) + bias_bytes_; }

 private:
  struct Passes;
  void make_room(int threads);
  int images_apart(int images, int threads) const;
  void make_pass(Passes& passes, int first, int images, int thread, int threads) const;

  const Plan plan_;
  const Kernels& kernels_;
  const size_t thread_scratch_;                 // the largest that an op wants, a multiple of 64
  const std::vector<const MappedFile*> files_;  // that blobs of the plan are parts of
  const size_t bias_bytes_;                     // that were exchanged
  const bool in_order_;                         // images go through the plan one after the other
  const size_t arena_stride_;
  // Kept between runs.
  int arenas_made_ = 0;
  AlignedBuffer arenas_;
  AlignedBuffer scratch_;
};

}  // namespace fewbit
