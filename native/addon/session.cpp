#include "addon/session.h"

#include <cstdlib>
#include <utility>

#include "addon/arguments.h"
#include "addon/plan_reader.h"
#include "cuda/plan/executor.h"
#include "plan/executor.h"
#include "plan/finite_input.h"
#include "plan/pages.h"

namespace fewbit::addon {
namespace {

constexpr napi_type_tag kTag = {0x71c2e5a9b04d4f86, 0xb61d0c37e8a95f42};
constexpr int kMaxThreads = 1024;

class RunJob : public Job {
 public:
  RunJob(std::shared_ptr<Runner> runner, const RunArguments& arguments) : runner_(std::move(runner)), arguments_(arguments) {}

  void execute(Context& context) override {
    require_finite(context.team, arguments_.threads, static_cast<const float*>(arguments_.input), arguments_.images,
                   runner_->plan().input_bytes / int64_t(sizeof(float)));
    runner_->run(context.team, arguments_, stop_flag(), [&](int64_t images) { context.progress(images); });
  }

 private:
  const std::shared_ptr<Runner> runner_;
  const RunArguments arguments_;
};

const Kernels& kernels_of(Napi::Env env, const std::string& name) {
  const Path* path = find_path(name.c_str());
  if (!path) throw Napi::Error::New(env, "there is no path '" + name + "'");
  if (!path->runs || !path->kernels) throw Napi::Error::New(env, "path '" + name + "' does not run here: " + path->reason);
  return *path->kernels;
}

// where: the name of a path, or 'cuda:' and the number of a device.
constexpr char kCudaPrefix[] = "cuda:";

bool on_cuda(const std::string& where) { return where.compare(0, sizeof kCudaPrefix - 1, kCudaPrefix) == 0; }

std::shared_ptr<Runner> make_runner(Napi::Env env, Plan plan, const std::string& where, int threads) {
  if (!on_cuda(where)) return std::make_shared<Executor>(std::move(plan), kernels_of(env, where), threads);
  const int ordinal = std::atoi(where.c_str() + sizeof kCudaPrefix - 1);
  return std::make_shared<cuda::Executor>(std::move(plan), cuda::Context::of(ordinal));
}

// An array of images * image_bytes.
uint8_t* images_of(Napi::Value value, const char* name, int64_t images, int64_t image_bytes) {
  const Bytes bytes = typed_array(value, napi_float32_array, name);
  if (image_bytes && int64_t(bytes.size) / image_bytes < images) {
    throw Napi::RangeError::New(value.Env(), std::string(name) + " has " + std::to_string(bytes.size) + " bytes, " +
                                                 std::to_string(images) + " images need " + std::to_string(image_bytes) +
                                                 " each");
  }
  return bytes.data;
}

// A number an op, or null.
double* nanoseconds_of(Napi::Value value, size_t ops) {
  if (value.IsNull()) return nullptr;
  const Bytes bytes = typed_array(value, napi_float64_array, "nanoseconds");
  if (bytes.size < ops * sizeof(double)) {
    throw Napi::RangeError::New(
        value.Env(), "nanoseconds has " + std::to_string(bytes.size) + " bytes, " + std::to_string(ops) + " ops need 8 each");
  }
  return reinterpret_cast<double*>(bytes.data);
}

}  // namespace

Napi::Function SessionObject::define(Napi::Env env, Jobs* jobs) {
  return DefineClass(env, "NativeSession",
                     {InstanceMethod<&SessionObject::run>("run"), InstanceMethod<&SessionObject::cancel>("cancel"),
                      InstanceMethod<&SessionObject::dispose>("dispose")},
                     jobs);
}

SessionObject::SessionObject(const Napi::CallbackInfo& info) : ObjectWrap(info), jobs_(static_cast<Jobs*>(info.Data())) {
  guarded(info.Env(), [&] {
    if (!info[1].IsString()) throw Napi::TypeError::New(info.Env(), "path must be a string");
    const std::string where = info[1].As<Napi::String>().Utf8Value();
    const auto threads = static_cast<int>(integer(info[2], 1, kMaxThreads, "threads"));
    engine_ = on_cuda(where) ? Engine::cuda : Engine::cpu;
    runner_ = make_runner(info.Env(), read_plan(info[0]), where, threads);
  });
  info.This().As<Napi::Object>().TypeTag(&kTag);
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), static_cast<int64_t>(runner_->memory()));
}

void SessionObject::Finalize(Napi::BasicEnv env) { release(env); }

void SessionObject::release(Napi::BasicEnv env) {
  if (!runner_) return;
  Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<int64_t>(runner_->memory()));
  runner_.reset();
}

SessionObject* SessionObject::Unwrap(Napi::Object object) {
  if (!object.IsObject() || !object.CheckTypeTag(&kTag)) throw Napi::TypeError::New(object.Env(), "this is not a NativeSession");
  return ObjectWrap::Unwrap(object);
}

Napi::Value SessionObject::run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!runner_) throw Napi::Error::New(env, "the session was disposed");
  const Plan& plan = runner_->plan();
  const int64_t images = integer(info[2], 1, kMaxImages, "images");
  RunArguments arguments{};
  arguments.input = images_of(info[0], "input", images, plan.input_bytes);
  arguments.output = images_of(info[1], "output", images, plan.output_bytes);
  prefer_large_pages(arguments.output, images * plan.output_bytes);
  arguments.images = static_cast<int>(images);
  arguments.threads = static_cast<int>(integer(info[3], 1, kMaxThreads, "threads"));
  arguments.nanoseconds = nanoseconds_of(info[4], plan.ops.size());

  Jobs::Request request;
  if (info[5].IsFunction()) {
    request.progress = info[5].As<Napi::Function>();
  } else if (!info[5].IsNull()) {
    throw Napi::TypeError::New(env, "progress must be a function or null");
  }
  if (!info[6].IsFunction()) throw Napi::TypeError::New(env, "done must be a function");
  request.done = info[6].As<Napi::Function>();
  request.engine = engine_;
  request.owner = this;
  request.keep = {info[0].As<Napi::Object>(), info[1].As<Napi::Object>(), info.This().As<Napi::Object>()};
  if (arguments.nanoseconds) request.keep.push_back(info[4].As<Napi::Object>());
  return guarded(env, [&]() -> Napi::Value {
    request.job = std::make_shared<RunJob>(runner_, arguments);
    return Napi::Number::New(env, jobs_->start(env, request));
  });
}

void SessionObject::cancel(const Napi::CallbackInfo& info) {
  jobs_->cancel(static_cast<int>(integer(info[0], 0, INT32_MAX, "run")), this);
}

void SessionObject::dispose(const Napi::CallbackInfo& info) {
  jobs_->cancel_all(this);
  release(info.Env());
}

}  // namespace fewbit::addon
