// Bounds of JSON for JavaScript.
#pragma once

#include <napi.h>

namespace fewbit::addon {

// (text: string | Uint8Array) => [depth, values, members] of format/json_bounds.h.
Napi::Value json_bounds_of(const Napi::CallbackInfo& info);

}  // namespace fewbit::addon
