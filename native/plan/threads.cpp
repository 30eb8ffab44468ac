#include "plan/threads.h"

#include <algorithm>
#include <chrono>
#include <system_error>

#ifdef __linux__
#include <sched.h>
#endif
#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#endif
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
#include <intrin.h>
#endif

namespace fewbit {
namespace {

constexpr int64_t kSpinNanoseconds = 50 * 1000;
constexpr int kPausesPerLook = 16;  // at the clock
// How long a worker rests that found no processor: tries become a percent or two of the time of who works on.
constexpr int64_t kShortestRest = 250 * 1000, kLongestRest = 16 * kShortestRest;

void relax() {
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
  _mm_pause();
#elif defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  __asm__ __volatile__("yield");
#else
  std::this_thread::yield();
#endif
}

int share_begin(int tasks, int i, int participants) { return static_cast<int>(static_cast<int64_t>(tasks) * i / participants); }

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool on_processor(const std::atomic<int>& processor) {
  const int mine = this_processor();
  return mine >= 0 && mine == processor.load(std::memory_order_relaxed);
}

}  // namespace

int this_processor() {
#if defined(__linux__)
  return sched_getcpu();
#elif defined(_WIN32)
  PROCESSOR_NUMBER processor;
  GetCurrentProcessorNumberEx(&processor);
  return processor.Group * 64 + processor.Number;
#else
  return -1;
#endif
}

bool Parking::SpinTimer::pause(const std::atomic<int>& other) {
  relax();
  if (++pauses % kPausesPerLook) return true;
  if (on_processor(other)) return false;
  const int64_t t = now();
  if (!end) end = t + kSpinNanoseconds;
  return t < end;
}

Team::~Team() {
  participants_ = 0;
  gate_.open();
  for (auto& worker : workers_) worker->parking.wake();
  for (auto& worker : workers_) worker->thread.join();
}

// As many of the participants as there can be: a process may be at its limit of threads.
int Team::grow(int participants) {
  participants = std::min(participants, most_threads_);
  workers_.reserve(participants - 1);
  while (static_cast<int>(workers_.size()) < participants - 1) {
    auto worker = std::make_unique<Worker>();
    const int thread = static_cast<int>(workers_.size()) + 1;
    try {
      worker->thread = std::thread(&Team::loop, this, worker.get(), thread);
    } catch (const std::system_error&) {
      return most_threads_ = thread;
    }
    workers_.push_back(std::move(worker));
  }
  return participants;
}

void Team::run(int tasks, int participants, bool short_tasks, Call call, void* context) {
  participants = grow(participants);
  if (static_cast<int>(shares_.size()) < participants) shares_ = std::vector<Share>(participants);
  for (int i = 0; i < participants; ++i) {
    shares_[i].next.store(share_begin(tasks, i, participants), std::memory_order_relaxed);
    shares_[i].end = share_begin(tasks, i + 1, participants);
  }
  short_tasks_ = short_tasks;
  call_ = call;
  context_ = context;
  participants_ = participants;
  caller_processor_.store(this_processor(), std::memory_order_relaxed);
  gate_.open();
  for (int i = 0; i < participants - 1; ++i)
    if (!short_tasks || !rests(*workers_[i])) workers_[i]->parking.wake();
  work(0, participants);
  if (!gate_.close()) caller_.wait([this] { return gate_.empty(); }, worker_processor_);
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

// Of a worker that was crowded, twice as long each time until it is not. Nobody looks at the clock for others.
bool Team::rests(Worker& worker) {
  if (worker.crowded.exchange(false)) {
    worker.rest = std::min(std::max(2 * worker.rest, kShortestRest), kLongestRest);
    worker.rests_until = now() + worker.rest;
  } else if (worker.rests_until == 0) {
    worker.rest = 0;
    return false;
  }
  if (now() < worker.rests_until) return true;
  worker.rests_until = 0;
  return false;
}

void Team::drain(Share& share, int thread) {
  for (int task; (task = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) call_(context_, task, thread);
}

// Its own share first, then those behind it.
void Team::work(int thread, int participants) {
  try {
    for (int i = 0; i < participants; ++i) drain(shares_[(thread + i) % participants], thread);
  } catch (...) {
    {
      std::lock_guard<std::mutex> lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
    for (int i = 0; i < participants; ++i) shares_[i].next.store(shares_[i].end, std::memory_order_relaxed);
  }
}

void Team::loop(Worker* self, int thread) {
  uint32_t seen = 0;
  for (;;) {
    self->parking.wait([&] { return gate_.is_open(seen); }, caller_processor_);
    if (!gate_.enter(&seen)) continue;
    worker_processor_.store(this_processor(), std::memory_order_relaxed);
    const int participants = participants_;
    if (thread < participants) work(thread, participants);
    if (short_tasks_ && on_processor(caller_processor_)) self->crowded.store(true);
    if (gate_.leave()) caller_.wake();
    if (participants == 0) return;
  }
}

}  // namespace fewbit
