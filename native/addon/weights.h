// format/ for JavaScript.
#pragma once

#include <napi.h>

namespace fewbit::addon {

Napi::Value packed_bytes_of(const Napi::CallbackInfo& info);
Napi::Value pack(const Napi::CallbackInfo& info);
Napi::Value unpack(const Napi::CallbackInfo& info);
Napi::Value sum(const Napi::CallbackInfo& info);
Napi::Value padded(const Napi::CallbackInfo& info);
Napi::Value first_outside_of(const Napi::CallbackInfo& info);

}  // namespace fewbit::addon
