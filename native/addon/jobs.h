// Jobs of one environment (a main thread or a worker): from JavaScript to the engine's queue, and back to JavaScript.
#pragma once

#include <napi.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "plan/engine.h"

namespace fewbit::addon {

class Jobs : public std::enable_shared_from_this<Jobs> {
 public:
  // Lives as long as its thread-safe function, which ends with the environment.
  static std::shared_ptr<Jobs> create(Napi::Env env);

  struct Request {
    std::shared_ptr<Job> job;
    Engine::Kind engine;
    const void* owner;               // who may cancel; stays alive until the job is finished, so keep it too
    std::vector<Napi::Object> keep;  // not collected before the job is finished
    Napi::Function progress;         // may be empty; called with what the job reports
    Napi::Function done;  // called once, with null or an Error; code 'ABORTED' after a cancel, 'REFUSED' for a bad input
  };
  // The number of the job. The process stays alive until done was called.
  int start(Napi::Env env, const Request& request);
  void cancel(int id, const void* owner);
  void cancel_all(const void* owner);

 private:
  struct Ticket;
  class TicketListener;
  struct Event;

  static void on_wake(napi_env env, napi_value, void* context, void*);
  static void on_cleanup(void* self);
  void wake();
  void drain(Napi::Env env);
  void close();

  // Used on the thread of the environment only.
  std::map<int, std::shared_ptr<Ticket>> tickets_;
  int next_id_ = 1;

  std::mutex mutex_;  // for what follows, and the shared part of tickets
  std::condition_variable idle_;
  napi_threadsafe_function wake_ = nullptr;
  int outstanding_ = 0;  // jobs whose listener has not heard the end
  bool woken_ = false;
  bool closing_ = false;
};

}  // namespace fewbit::addon
