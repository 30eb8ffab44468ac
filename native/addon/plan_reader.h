// A plan as JavaScript wrote it (lib/runtime/addon-types.ts) into plan/plan.h.
#pragma once

#include <napi.h>

#include "plan/plan.h"

namespace fewbit::addon {

// Checks types only, and throws a TypeError that names op and field; validate() checks what they mean.
Plan read_plan(Napi::Value value);

}  // namespace fewbit::addon
