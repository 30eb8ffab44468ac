#include "addon/cuda.h"

#include "addon/library.h"
#include "cuda/driver/context.h"

namespace fewbit::addon {

void set_kernel_file() {
  const std::string addon = library_file();
  cuda::set_kernel_file(addon.substr(0, addon.find_last_of("/\\") + 1) + "fewbit.fatbin");
}

Napi::Value cuda_report(Napi::Env env) {
  const cuda::DriverReport report = cuda::report();
  Napi::Object result = Napi::Object::New(env);
  result.Set("built", report.built);
  result.Set("reason", report.reason);
  Napi::Array devices = Napi::Array::New(env);
  for (const cuda::DeviceReport& device : report.devices) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", device.name);
    entry.Set("capability", std::to_string(device.major) + "." + std::to_string(device.minor));
    entry.Set("memory", static_cast<double>(device.memory));
    entry.Set("runs", device.runs);
    entry.Set("reason", device.reason);
    devices.Set(devices.Length(), entry);
  }
  result.Set("devices", devices);
  return result;
}

}  // namespace fewbit::addon
