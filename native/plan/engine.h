// Who computes when: one queue, one coordinator thread and one team for the whole process, so that sessions share a
// budget of threads instead of fighting for processors. What computes elsewhere has a queue and a coordinator of its own, which
// mostly waits.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "plan/threads.h"

namespace fewbit {

struct Outcome {
  enum Kind { done, aborted, refused, failed } kind;
  std::string message;  // why the input was refused, or the run failed
};

// finished() is called exactly once, on the coordinator; a job that is cancelled in the queue is finished on the thread that
// cancels. progress() comes from any thread that works on the job, one call at a time. They must not wait for the thread that
// cancels.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void progress(int64_t done) = 0;
  virtual void finished(Outcome outcome) = 0;
};

// What a running job works with.
class Context {
 public:
  Context(Team& team, Listener& listener) : team(team), listener_(listener) {}
  Team& team;
  // May be called as often as one likes, by one thread at a time; one call in 50 ms is passed on.
  void progress(int64_t done);

 private:
  Listener& listener_;
  std::chrono::steady_clock::time_point next_{};
};

// Work for the coordinator.
class Job {
 public:
  virtual ~Job() = default;
  // May throw; std::domain_error: the input is not what it must be. Looks at cancelled() as often as Runner::run at `stop`, and
  // then returns at once.
  virtual void execute(Context& context) = 0;
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

 protected:
  const std::atomic<bool>& stop_flag() const { return cancelled_; }

 private:
  std::atomic<bool> cancelled_{false};
};

class Engine {
 public:
  enum Kind { cpu, cuda };
  // Never destroyed: its threads may still run while the process ends. A forked child, which has none of them, gets an
  // engine of its own.
  static Engine& instance(Kind kind);

  void submit(std::shared_ptr<Job> job, std::shared_ptr<Listener> listener);
  // A queued job is finished before this returns, one that runs soon after. Any other is left alone.
  void cancel(Job& job);

 private:
  struct Entry {
    std::shared_ptr<Job> job;
    std::shared_ptr<Listener> listener;
  };
  void loop();

  std::mutex mutex_;
  std::condition_variable queued_;
  std::deque<Entry> queue_;
  bool started_ = false;
  Team team_;
};

}  // namespace fewbit
