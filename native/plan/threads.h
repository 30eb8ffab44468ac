// The package's own threads. One caller at a time divides work among itself and helpers that it keeps.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace fewbit {

// Lets one thread wait for something that others announce: first spinning, because regions of a plan follow each other
// within microseconds and waking a thread costs tens of them, then asleep.
class Parking {
 public:
  // ready reads what wakers wrote with seq_cst; see wake().
  template <class Ready>
  void wait(Ready ready) {
    if (spin(ready)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    asleep_.store(true);  // seq_cst, before ready is looked at
    changed_.wait(lock, ready);
    asleep_.store(false);
  }
  // Call after a seq_cst store that makes ready true: either that store comes before ready is looked at, or asleep_ is
  // seen here.
  void wake() {
    if (!asleep_.load()) return;
    // Once the lock was had, the other is inside wait(); it takes no lock to look at ready before that.
    { std::lock_guard<std::mutex> lock(mutex_); }
    changed_.notify_one();
  }

 private:
  template <class Ready>
  bool spin(Ready ready) {
    SpinTimer timer;
    while (!ready())
      if (!timer.pause()) return false;
    return true;
  }
  struct SpinTimer {
    bool pause();  // false when the time for spinning is over
    int pauses = 0;
    int64_t end = 0;
  };

  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> asleep_{false};
};

class Team {
 public:
  Team() = default;
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // fn(task, thread) for every task in [0, tasks), thread in [0, min(threads, tasks)), the caller being thread 0. Each
  // thread begins with a share of its own, the same part of the range in every region, so that it finds in its caches what
  // it wrote in the region before; who has done its own takes tasks of others, one at a time. When one throws, tasks that
  // were not started are dropped and the exception comes out here. With one thread or one task nothing is synchronised. Not
  // reentrant.
  template <class Fn>
  void parallel_for(int tasks, int threads, Fn&& fn) {
    if (threads <= 1 || tasks <= 1) {
      for (int task = 0; task < tasks; ++task) fn(task, 0);
      return;
    }
    run(
        tasks, threads < tasks ? threads : tasks,
        [](void* context, int task, int thread) { (*static_cast<std::remove_reference_t<Fn>*>(context))(task, thread); },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

 private:
  using Call = void (*)(void* context, int task, int thread);
  struct alignas(64) Share {
    std::atomic<int> next{0};  // may pass end by the number of participants
    int end = 0;
  };
  struct Worker {
    Parking parking;
    std::thread thread;
  };

  void run(int tasks, int participants, Call call, void* context);
  int grow(int participants);
  void work(int thread, int participants);
  void drain(Share& share, int thread);
  void loop(Worker* self, int thread, uint64_t seen);
  uint64_t next_region(int participants) const;

  // Generation of the region in the upper half, its participants in the lower: read in one piece, so that a worker that
  // slept through regions never takes part in one with the numbers of another. 0 participants: the end.
  std::atomic<uint64_t> region_{0};
  // Written between regions only: run() returns when no participant is left.
  std::vector<Share> shares_;  // of each participant
  Call call_ = nullptr;
  void* context_ = nullptr;
  std::exception_ptr error_;

  alignas(64) std::atomic<int> busy_{0};  // workers that have not finished this region
  std::mutex error_mutex_;
  Parking caller_;
  std::vector<std::unique_ptr<Worker>> workers_;  // worker i is thread i + 1
};

}  // namespace fewbit
