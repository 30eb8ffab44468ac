// Threads meet in Ticket: the coordinator writes what happened and wakes the environment by a call without payload, which
// may be refused when the environment is closing; then nobody is left who wants to know.
//
// The end of an environment: Node runs cleanup hooks last-added first. Ours is added after that of the thread-safe function
// and so runs before it: it cancels the jobs of this environment and waits until the engine has let go of them. After
// that no thread touches the thread-safe function or the arrays that the references hold.
#include "addon/jobs.h"

#include <utility>

namespace fewbit::addon {

struct Jobs::Ticket {
  std::shared_ptr<Job> job;
  const void* owner;
  std::vector<Napi::ObjectReference> keep;
  Napi::FunctionReference progress_callback, done_callback;
  // Under the mutex of Jobs.
  int64_t progress = -1;  // not reported yet
  bool finished = false;
  Outcome outcome{};
};

class Jobs::TicketListener : public Listener {
 public:
  TicketListener(std::shared_ptr<Jobs> jobs, std::shared_ptr<Ticket> ticket) : jobs_(std::move(jobs)), ticket_(std::move(ticket)) {}

  void progress(int64_t done) override {
    std::lock_guard<std::mutex> lock(jobs_->mutex_);
    ticket_->progress = done;
    jobs_->wake();
  }
  void finished(Outcome outcome) override {
    std::lock_guard<std::mutex> lock(jobs_->mutex_);
    ticket_->outcome = std::move(outcome);
    ticket_->finished = true;
    jobs_->wake();
    // The last touch: close() may go on as soon as the lock is free. The ticket's references belong to its thread, so
    // that this may not be the one that destroys it.
    ticket_.reset();
    if (--jobs_->outstanding_ == 0) jobs_->idle_.notify_all();
  }

 private:
  const std::shared_ptr<Jobs> jobs_;
  std::shared_ptr<Ticket> ticket_;
};
