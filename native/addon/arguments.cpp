#include "addon/arguments.h"

#include <cmath>
#include <string>

namespace fewbit::addon {
namespace {

const char* type_name(napi_typedarray_type type) {
  switch (type) {
    case napi_float32_array:
      return "a Float32Array";
    case napi_float64_array:
      return "a Float64Array";
    case napi_uint8_array:
      return "a Uint8Array";
    case napi_int8_array:
      return "an Int8Array";
    default:
      return "another typed array";
  }
}

size_t element_bytes(napi_typedarray_type type) {
  return type == napi_float64_array ? sizeof(double) : type == napi_float32_array ? sizeof(float) : 1;
}

}  // namespace

Bytes typed_array(Napi::Value value, napi_typedarray_type type, const char* name) {
  const Napi::Env env = value.Env();
  const auto refuse = [&](const std::string& what) { return Napi::TypeError::New(env, std::string(name) + what); };
  if (!value.IsTypedArray()) throw refuse(std::string(" must be ") + type_name(type));
  napi_typedarray_type actual;
  size_t length, offset;
  void* data;
  napi_value buffer;
  if (napi_get_typedarray_info(env, value, &actual, &length, &data, &buffer, &offset) != napi_ok) throw Napi::Error::New(env);
  if (actual != type) throw refuse(std::string(" must be ") + type_name(type));

  bool plain = false, detached = false;
  if (napi_is_arraybuffer(env, buffer, &plain) != napi_ok || !plain) throw refuse(" must not lie in a SharedArrayBuffer");
  if (napi_is_detached_arraybuffer(env, buffer, &detached) != napi_ok || detached) throw refuse(" is detached");
  const Napi::Value resizable = Napi::Object(env, buffer).Get("resizable");
  if (resizable.IsBoolean() && resizable.As<Napi::Boolean>()) throw refuse(" must not lie in a resizable ArrayBuffer");
  return {static_cast<uint8_t*>(data), length * element_bytes(type)};
}

int64_t integer(Napi::Value value, int64_t low, int64_t high, const std::string& name) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= double(low) && number <= double(high)) || number != std::floor(number)) {
    throw Napi::TypeError::New(value.Env(), name + " must be an integer in " + std::to_string(low) + ".." + std::to_string(high));
  }
  return static_cast<int64_t>(number);
}

}  // namespace fewbit::addon
