#include "plan/engine.h"

#include <algorithm>
#include <exception>
#include <new>
#include <stdexcept>
#include <thread>

#ifdef _WIN32
#include <process.h>
#else
#include <unistd.h>
#endif

namespace fewbit {
namespace {

constexpr std::chrono::milliseconds kProgressInterval(50);

int process_id() {
#ifdef _WIN32
  return _getpid();
#else
  return getpid();
#endif
}

Outcome execute(Job& job, Context& context) {
  if (job.cancelled()) return {Outcome::aborted, {}};
  try {
    job.execute(context);
    return {job.cancelled() ? Outcome::aborted : Outcome::done, {}};
  } catch (const std::bad_alloc&) {
    return {Outcome::failed, "out of memory"};
  } catch (const std::domain_error& error) {
    return {Outcome::refused, error.what()};
  } catch (const std::exception& error) {
    return {Outcome::failed, error.what()};
  } catch (...) {
    return {Outcome::failed, "unknown exception"};
  }
}

}  // namespace

void Context::progress(int64_t done) {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kProgressInterval;
  listener_.progress(done);
}

Engine& Engine::instance(Kind kind) {
  struct Owned {
    Engine engine;
    int process;
  };
  static std::atomic<Owned*> engines[2];
  std::atomic<Owned*>& current = engines[kind];
  const int process = process_id();
  Owned* seen = current.load();
  while (!seen || seen->process != process) {
    Owned* made = new Owned;
    made->process = process;
    if (current.compare_exchange_strong(seen, made)) return made->engine;
    delete made;
  }
  return seen->engine;
}

void Engine::submit(std::shared_ptr<Job> job, std::shared_ptr<Listener> listener) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!started_) {
    std::thread(&Engine::loop, this).detach();
    started_ = true;
  }
  queue_.push_back({std::move(job), std::move(listener)});
  queued_.notify_one();
}

void Engine::cancel(Job& job) {
  job.cancel();
  Entry entry;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto at = std::find_if(queue_.begin(), queue_.end(), [&](const Entry& e) { return e.job.get() == &job; });
    if (at == queue_.end()) return;
    entry = std::move(*at);
    queue_.erase(at);
  }
  entry.job.reset();
  entry.listener->finished({Outcome::aborted, {}});
}

void Engine::loop() {
  for (;;) {
    Entry entry;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      queued_.wait(lock, [&] { return !queue_.empty(); });
      entry = std::move(queue_.front());
      queue_.pop_front();
    }
    Context context(team_, *entry.listener);
    Outcome outcome = execute(*entry.job, context);
    // Before the listener hears of it, so that whoever asked for the job has the last reference and frees its memory.
    entry.job.reset();
    entry.listener->finished(std::move(outcome));
  }
}

}  // namespace fewbit
