// NativeSession: a plan with its arena as a JavaScript object.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/jobs.h"
#include "plan/runner.h"

namespace fewbit::addon {

class SessionObject : public Napi::ObjectWrap<SessionObject> {
 public:
  static Napi::Function define(Napi::Env env, Jobs* jobs);
  // new SessionObject(plan, path, threads)
  explicit SessionObject(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

  // Throws unless the object was made by this class: methods may be called on anything.
  static SessionObject* Unwrap(Napi::Object object);

 private:
  Napi::Value run(const Napi::CallbackInfo& info);
  void cancel(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);
  void release(Napi::BasicEnv env);

  Jobs* jobs_;  // outlives every object of its environment that JavaScript can reach
  Engine::Kind engine_ = Engine::cpu;
  std::shared_ptr<Runner> runner_;  // null after dispose; runs under way have it too
};

}  // namespace fewbit::addon
