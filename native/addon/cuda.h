// What CUDA devices there are, for JavaScript.
#pragma once

#include <napi.h>

namespace fewbit::addon {

// The file of kernels lies beside this addon.
void set_kernel_file();

// NativeCuda in lib/runtime/addon-types.ts.
Napi::Value cuda_report(Napi::Env env);

}  // namespace fewbit::addon
