// Threads meet in Ticket: the coordinator writes what happened and wakes the environment by a call without payload, which
// may be refused when the environment is closing; then nobody is left who wants to know.
//
// The end of an environment: Node runs cleanup hooks last-added first. Ours is added after that of the thread-safe function
// and so runs before it: it cancels the jobs of this environment and waits until the engine has let go of them. After
// that no thread touches the thread-safe function or the arrays that the references hold.
#include "addon/jobs.h"

#include <climits>
#include <iterator>
#include <utility>

namespace fewbit::addon {

struct Jobs::Ticket {
  std::shared_ptr<Job> job;
  Engine::Kind engine;
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
  TicketListener(std::shared_ptr<Jobs> jobs, std::shared_ptr<Ticket> ticket)
      : jobs_(std::move(jobs)), ticket_(std::move(ticket)) {}

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
std::shared_ptr<Jobs> Jobs::create(Napi::Env env) {
  auto jobs = std::make_shared<Jobs>();
  auto* held = new std::shared_ptr<Jobs>(jobs);
  const auto release = [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<Jobs>*>(data); };
  if (napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "fewbit"), 0, 1, held, release, jobs.get(),
                                      on_wake, &jobs->wake_) != napi_ok) {
    delete held;
    throw Napi::Error::New(env);
  }
  if (napi_unref_threadsafe_function(env, jobs->wake_) != napi_ok ||
      napi_add_env_cleanup_hook(env, on_cleanup, jobs.get()) != napi_ok) {
    napi_release_threadsafe_function(jobs->wake_, napi_tsfn_abort);
    throw Napi::Error::New(env);
  }
  return jobs;
}

int Jobs::start(Napi::Env env, const Request& request) {
  auto ticket = std::make_shared<Ticket>();
  ticket->job = request.job;
  ticket->engine = request.engine;
  ticket->owner = request.owner;
  for (const Napi::Object& object : request.keep) ticket->keep.push_back(Napi::Persistent(object));
  if (!request.progress.IsEmpty()) ticket->progress_callback = Napi::Persistent(request.progress);
  ticket->done_callback = Napi::Persistent(request.done);
  auto listener = std::make_shared<TicketListener>(shared_from_this(), ticket);

  const int id = next_id_;
  tickets_.emplace(id, ticket);
  try {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closing_) throw Napi::Error::New(env, "this environment is closing");
    // Under the lock, so that a job counts before it can be finished.
    Engine::instance(request.engine).submit(request.job, std::move(listener));
    ++outstanding_;
  } catch (...) {
    tickets_.erase(id);
    throw;
  }
  next_id_ = next_id_ == INT_MAX ? 1 : next_id_ + 1;
  if (tickets_.size() == 1) napi_ref_threadsafe_function(env, wake_);
  return id;
}

void Jobs::cancel(int id, const void* owner) {
  const auto at = tickets_.find(id);
  if (at != tickets_.end() && at->second->owner == owner) Engine::instance(at->second->engine).cancel(*at->second->job);
}

void Jobs::cancel_all(const void* owner) {
  for (auto& [id, ticket] : tickets_)
    if (ticket->owner == owner) Engine::instance(ticket->engine).cancel(*ticket->job);
}

// Under the mutex. One call at a time is enough: it looks at every ticket.
void Jobs::wake() {
  if (woken_ || closing_) return;
  woken_ = napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking) == napi_ok;
}

void Jobs::on_wake(napi_env env, napi_value, void* context, void*) {
  if (env) static_cast<Jobs*>(context)->drain(env);  // null: the environment is closing
}

void Jobs::on_cleanup(void* self) { static_cast<Jobs*>(self)->close(); }

void Jobs::close() {
  for (auto& [id, ticket] : tickets_) Engine::instance(ticket->engine).cancel(*ticket->job);
  {
    std::unique_lock<std::mutex> lock(mutex_);
    closing_ = true;
    idle_.wait(lock, [&] { return outstanding_ == 0; });
  }
  tickets_.clear();
  napi_release_threadsafe_function(wake_, napi_tsfn_abort);
}

// What a ticket had to tell, taken under the mutex and told without it: callbacks may start and cancel jobs.
struct Jobs::Event {
  std::shared_ptr<Ticket> ticket;
  int64_t progress;
  bool finished;
};

namespace {

napi_value outcome_value(Napi::Env env, const Outcome& outcome) {
  napi_value value = nullptr;
  if (outcome.kind == Outcome::done) {
    napi_get_null(env, &value);
    return value;
  }
  const bool aborted = outcome.kind == Outcome::aborted, refused = outcome.kind == Outcome::refused;
  napi_value code = nullptr, message = nullptr;
  if (aborted || refused) napi_create_string_utf8(env, aborted ? "ABORTED" : "REFUSED", NAPI_AUTO_LENGTH, &code);
  napi_create_string_utf8(env, aborted ? "the run was cancelled" : outcome.message.c_str(), NAPI_AUTO_LENGTH, &message);
  napi_create_error(env, code, message, &value);
  return value;
}

// Calls back; an exception is kept in `thrown`, the first of several, so that the other callbacks are still called. Plain C,
// because in a worker that is being terminated every call fails, and that is nothing to report.
void call(Napi::Env env, const Napi::FunctionReference& callback, napi_value argument, napi_value* thrown) {
  napi_value result;
  if (napi_call_function(env, env.Undefined(), callback.Value(), 1, &argument, &result) != napi_pending_exception) return;
  napi_value error;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok && !*thrown) *thrown = error;
}

}  // namespace

void Jobs::drain(Napi::Env env) {
  std::vector<Event> events;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    woken_ = false;
    for (auto& [id, ticket] : tickets_)
      if (ticket->finished || ticket->progress >= 0)
        events.push_back({ticket, std::exchange(ticket->progress, -1), ticket->finished});
    for (auto at = tickets_.begin(); at != tickets_.end();) at = at->second->finished ? tickets_.erase(at) : std::next(at);
  }
  if (tickets_.empty()) napi_unref_threadsafe_function(env, wake_);

  napi_value thrown = nullptr;
  try {
    const Napi::HandleScope scope(env);
    for (Event& event : events) {
      Ticket& ticket = *event.ticket;
      if (event.progress >= 0 && !ticket.progress_callback.IsEmpty())
        call(env, ticket.progress_callback, Napi::Number::New(env, double(event.progress)), &thrown);
      if (!event.finished) continue;
      // First the memory, so that JavaScript finds it free.
      ticket.job.reset();
      ticket.keep.clear();
      call(env, ticket.done_callback, outcome_value(env, ticket.outcome), &thrown);
    }
    if (thrown) napi_throw(env, thrown);
  } catch (const Napi::Error&) {
    // Only a dying environment makes these values fail.
  }
}

}  // namespace fewbit::addon
