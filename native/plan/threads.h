// The package's own threads. One caller at a time divides work among itself and helpers that it keeps.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace fewbit {

// The processor that this thread runs on; -1 where that cannot be told.
int this_processor();

// Lets one thread wait for something that others announce: first spinning, because regions of a plan follow each other
// within microseconds and waking a thread costs tens of them, then asleep.
class Parking {
 public:
  // ready reads what wakers wrote with seq_cst; see wake(). `other` is the processor of who announces: on the same one, spinning
  // would only hold it up.
  template <class Ready>
  void wait(Ready ready, const std::atomic<int>& other) {
    while (!spin(ready, other)) {
      std::unique_lock<std::mutex> lock(mutex_);
      asleep_.store(true);  // seq_cst, before ready is looked at
      // What a thread was woken for may be over. The next comes within microseconds, so it spins again and sleeps only then.
      if (!ready()) changed_.wait(lock);
      asleep_.store(false);
    }
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
  bool spin(Ready ready, const std::atomic<int>& other) {
    SpinTimer timer;
    while (!ready())
      if (!timer.pause(other)) return false;
    return true;
  }
  struct SpinTimer {
    bool pause(const std::atomic<int>& other);  // false when spinning is over
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
  // were not started are dropped and the exception comes out here. With one thread or one task nothing is synchronised. A worker
  // that found no processor but the caller's is not woken for some milliseconds; tasks may not wait for each other. Not
  // reentrant.
  template <class Fn>
  void parallel_for(int tasks, int threads, Fn&& fn) {
    deal(tasks, threads, true, fn);
  }
  // The same for tasks of milliseconds, in which threads find processors: all workers are woken.
  template <class Fn>
  void parallel_for_long(int tasks, int threads, Fn&& fn) {
    deal(tasks, threads, false, fn);
  }

 private:
  using Call = void (*)(void* context, int task, int thread);
  struct alignas(64) Share {
    std::atomic<int> next{0};  // may pass end by the number of participants
    int end = 0;
  };
  struct Worker {
    Parking parking;
    // Set at the end of its part of a region of short tasks, when it was on the caller's processor: waking it costs tens of
    // microseconds then, and it can do nothing that the caller could not.
    std::atomic<bool> crowded{false};
    int64_t rest = 0, rests_until = 0;  // nanoseconds; the caller's
    std::thread thread;
  };

  template <class Fn>
  void deal(int tasks, int threads, bool short_tasks, Fn& fn) {
    if (threads <= 1 || tasks <= 1) {
      for (int task = 0; task < tasks; ++task) fn(task, 0);
      return;
    }
    run(
        tasks, threads < tasks ? threads : tasks, short_tasks,
        [](void* context, int task, int thread) { (*static_cast<Fn*>(context))(task, thread); },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }
  void run(int tasks, int participants, bool short_tasks, Call call, void* context);
  bool rests(Worker& worker);
  // The regions one after the other, in one word, so that workers enter one that is open or none: its number in the upper half,
  // whether it is open, and how many workers are inside. Nobody waits for a worker that has not entered: it may have no
  // processor, and the others have done its share.
  class Gate {
   public:
    void open() { state_.store(((state_.load() >> 32) + 1) << 32 | kOpen); }
    // Until those inside have left.
    bool close() { return inside(state_.fetch_and(~kOpen)) == 0; }
    bool empty() const { return inside(state_.load()) == 0; }
    bool is_open(uint32_t seen) const {
      const uint64_t state = state_.load();
      return (state & kOpen) && number(state) != seen;
    }
    // False where the region that was open is closed; else its number is `seen`.
    bool enter(uint32_t* seen) {
      uint64_t state = state_.load();
      do {
        if (!(state & kOpen) || number(state) == *seen) return false;
      } while (!state_.compare_exchange_weak(state, state + 1));
      *seen = number(state);
      return true;
    }
    // Whether the last one has left a closed region.
    bool leave() {
      const uint64_t before = state_.fetch_sub(1);
      return inside(before) == 1 && !(before & kOpen);
    }

   private:
    static constexpr uint64_t kOpen = uint64_t(1) << 31;
    static uint32_t number(uint64_t state) { return static_cast<uint32_t>(state >> 32); }
    static uint32_t inside(uint64_t state) { return static_cast<uint32_t>(state & (kOpen - 1)); }
    std::atomic<uint64_t> state_{0};
  };

  int grow(int participants);
  void work(int thread, int participants);
  void drain(Share& share, int thread);
  void loop(Worker* self, int thread);

  alignas(64) Gate gate_;
  std::atomic<int> caller_processor_{-1};
  std::atomic<int> worker_processor_{-1};  // of the worker that entered last, which may not be the one that is waited for
  // Written while the gate is closed and nobody inside.
  alignas(64) int participants_ = 0;  // 0: the end
  std::vector<Share> shares_;         // of each participant
  bool short_tasks_ = true;
  Call call_ = nullptr;
  void* context_ = nullptr;
  std::exception_ptr error_;

  std::mutex error_mutex_;
  Parking caller_;
  int most_threads_ = std::numeric_limits<int>::max();  // less for good where the process was at its limit
  std::vector<std::unique_ptr<Worker>> workers_;        // worker i is thread i + 1
};

}  // namespace fewbit
