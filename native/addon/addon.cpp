// The export list of the addon: Addon in lib/runtime/addon-types.ts. No arithmetic and no policy here.
#include <napi.h>

#include "addon/arguments.h"
#include "addon/blob.h"
#include "addon/cuda.h"
#include "addon/jobs.h"
#include "addon/json.h"
#include "addon/library.h"
#include "addon/session.h"
#include "addon/weights.h"
#include "cpu/kernels.h"
#include "cpu/peaks.h"
#include "plan/thread_count.h"

namespace fewbit::addon {

// One for each environment (main thread or worker) that loads the addon.
class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports) : jobs_(Jobs::create(env)) {
    pin_library();
    set_kernel_file();
    constexpr auto method = static_cast<napi_property_attributes>(napi_default_method | napi_enumerable);
    blob_ = Napi::Persistent(BlobObject::define(env));
    session_ = Napi::Persistent(SessionObject::define(env, jobs_.get()));
    DefineAddon(exports, {
                             InstanceValue("version", Napi::String::New(env, FEWBIT_VERSION), napi_enumerable),
                             InstanceValue("build", Napi::String::New(env, build_line()), napi_enumerable),
                             InstanceValue("file", Napi::String::New(env, library_file()), napi_enumerable),
                             InstanceMethod("paths", &Addon::list_paths, method),
                             InstanceMethod("cuda", &Addon::list_cuda, method),
                             InstanceMethod("defaultThreads", &Addon::default_threads, method),
                             InstanceMethod("createBlob", &Addon::create_blob, method),
                             InstanceMethod("allocateBlob", &Addon::allocate_blob, method),
                             InstanceMethod("mapFile", &Addon::map_file, method),
                             InstanceMethod("sliceBlob", &Addon::slice_blob, method),
                             InstanceMethod("createSession", &Addon::create_session, method),
                             InstanceMethod("kernelOrigins", &Addon::list_kernel_origins, method),
                             InstanceMethod("measurePeaks", &Addon::measure_path_peaks, method),
                             InstanceMethod("measureReadSpeed", &Addon::measure_read_speed_of, method),
                             InstanceMethod("packedBytes", &Addon::packed_bytes, method),
                             InstanceMethod("packWeight", &Addon::pack_weight, method),
                             InstanceMethod("unpackWeight", &Addon::unpack_weight, method),
                             InstanceMethod("sumWeight", &Addon::sum_weight, method),
                             InstanceMethod("isPadded", &Addon::is_padded, method),
                             InstanceMethod("firstOutside", &Addon::first_outside, method),
                             InstanceMethod("jsonBounds", &Addon::json_bounds, method),
                         });
  }

 private:
  Napi::Value list_paths(const Napi::CallbackInfo& info) {
    Napi::Array list = Napi::Array::New(info.Env());
    for (const Path& path : paths()) {
      Napi::Object entry = Napi::Object::New(info.Env());
      entry.Set("name", path.name);
      entry.Set("built", path.kernels != nullptr);
      entry.Set("runs", path.runs);
      entry.Set("reason", path.reason);
      list.Set(list.Length(), entry);
    }
    return list;
  }

  Napi::Value list_cuda(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] { return cuda_report(info.Env()); });
  }

  Napi::Value default_threads(const Napi::CallbackInfo& info) {
    const ThreadCount count = guarded(info.Env(), [] { return default_thread_count(); });
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("threads", count.threads);
    result.Set("reason", count.reason);
    return result;
  }

  Napi::Value create_blob(const Napi::CallbackInfo& info) {
    if (!info[0].IsTypedArray()) throw Napi::TypeError::New(info.Env(), "bytes must be a Uint8Array");
    return blob_.New({info[0]});
  }
  Napi::Value allocate_blob(const Napi::CallbackInfo& info) {
    if (!info[0].IsNumber()) throw Napi::TypeError::New(info.Env(), "byteLength must be a number");
    return blob_.New({info[0]});
  }
  Napi::Value map_file(const Napi::CallbackInfo& info) { return blob_.New({info.Env().Null(), info[0]}); }
  Napi::Value slice_blob(const Napi::CallbackInfo& info) {
    if (!info[0].IsObject()) throw Napi::TypeError::New(info.Env(), "blob must be a NativeBlob");
    return blob_.New({info[0], info[1], info[2]});
  }
  Napi::Value create_session(const Napi::CallbackInfo& info) { return session_.New({info[0], info[1], info[2]}); }

  Napi::Value list_kernel_origins(const Napi::CallbackInfo& info) {
    const Path* path = info[0].IsString() ? find_path(info[0].As<Napi::String>().Utf8Value().c_str()) : nullptr;
    if (!path || !path->kernels) throw Napi::TypeError::New(info.Env(), "path must be the name of one that was built");
    Napi::Object result = Napi::Object::New(info.Env());
    for (const KernelOrigin& origin : kernel_origins(*path)) result.Set(origin.op, origin.path);
    return result;
  }

  Napi::Value measure_path_peaks(const Napi::CallbackInfo& info) {
    const Path* path = info[0].IsString() ? find_path(info[0].As<Napi::String>().Utf8Value().c_str()) : nullptr;
    if (!path || !path->runs) throw Napi::TypeError::New(info.Env(), "path must be the name of one that runs here");
    const Peaks peaks = measure_peaks(*path);
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("int8", peaks.int8);
    result.Set("floats", peaks.floats);
    return result;
  }

  Napi::Value measure_read_speed_of(const Napi::CallbackInfo& info) {
    const double bytes = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : 0;
    if (!(bytes >= 1 && bytes <= 1e10)) throw Napi::RangeError::New(info.Env(), "bytes must be from 1 to 1e10");
    return Napi::Number::New(info.Env(), guarded(info.Env(), [&] { return measure_read_speed(size_t(bytes)); }));
  }

  Napi::Value packed_bytes(const Napi::CallbackInfo& info) { return packed_bytes_of(info); }
  Napi::Value pack_weight(const Napi::CallbackInfo& info) { return pack(info); }
  Napi::Value unpack_weight(const Napi::CallbackInfo& info) { return unpack(info); }
  Napi::Value sum_weight(const Napi::CallbackInfo& info) { return sum(info); }
  Napi::Value is_padded(const Napi::CallbackInfo& info) { return padded(info); }
  Napi::Value first_outside(const Napi::CallbackInfo& info) { return first_outside_of(info); }
  Napi::Value json_bounds(const Napi::CallbackInfo& info) { return json_bounds_of(info); }

  std::shared_ptr<Jobs> jobs_;
  Napi::FunctionReference blob_, session_;
};

NODE_API_NAMED_ADDON(fewbit, Addon)

}  // namespace fewbit::addon
