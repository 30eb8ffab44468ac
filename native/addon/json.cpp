#include "addon/json.h"

#include "addon/arguments.h"
#include "format/json_bounds.h"

namespace fewbit::addon {

Napi::Value json_bounds_of(const Napi::CallbackInfo& info) {
  JsonBounds bounds;
  if (info[0].IsString()) {
    const std::string text = info[0].As<Napi::String>().Utf8Value();
    bounds = json_bounds(text.data(), text.size());
  } else {
    const Bytes text = typed_array(info[0], napi_uint8_array, "text");
    bounds = json_bounds(reinterpret_cast<const char*>(text.data), text.size);
  }
  Napi::Array result = Napi::Array::New(info.Env(), 3);
  uint32_t i = 0;
  for (int64_t count : {bounds.depth, bounds.values, bounds.members}) result.Set(i++, static_cast<double>(count));
  return result;
}

}  // namespace fewbit::addon
