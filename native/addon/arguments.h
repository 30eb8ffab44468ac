// Arguments from JavaScript as plain data, or a TypeError that names the argument.
#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>

namespace fewbit::addon {

struct Bytes {
  uint8_t* data;
  size_t size;
};

// The memory of a typed array. Its type is looked at and not its constructor, which may belong to another realm (jest,
// vm, Electron). Refused: another type, a SharedArrayBuffer, a resizable or detached ArrayBuffer.
Bytes typed_array(Napi::Value value, napi_typedarray_type type, const char* name);

// An integer in [low, high].
int64_t integer(Napi::Value value, int64_t low, int64_t high, const std::string& name);

// Runs fn; what C++ throws becomes a JavaScript error.
template <class Fn>
auto guarded(Napi::Env env, Fn&& fn) -> decltype(fn()) {
  try {
    return fn();
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Napi::Error::New(env, "out of memory");
  } catch (const std::exception& error) {
    throw Napi::Error::New(env, error.what());
  }
}

}  // namespace fewbit::addon
