// A driver library that gets as far as FAKE_DRIVER says, for what no simulator and no GPU at hand does. It is found by the name
// of the real one.
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

std::string behaviour() {
  const char* value = std::getenv("FAKE_DRIVER");
  return value ? value : "";
}

constexpr int kModeProhibited = 2, kDeviceUnavailable = 46, kNoBinary = 209;

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default"))) int

EXPORT cuInit(unsigned) { return 0; }
EXPORT cuDriverGetVersion(int* version) {
  *version = behaviour() == "old" ? 4020 : 99000;
  return 0;
}
EXPORT cuGetErrorName(int error, const char** name) {
  *name = error == kDeviceUnavailable ? "CUDA_ERROR_DEVICE_UNAVAILABLE" : "CUDA_ERROR_NO_BINARY_FOR_GPU";
  return 0;
}
EXPORT cuGetErrorString(int, const char** text) {
  *text = nullptr;
  return 0;
}
EXPORT cuDeviceGetCount(int* count) {
  *count = behaviour() == "none" ? 0 : 1;
  return 0;
}
EXPORT cuDeviceGet(int* device, int) {
  *device = 0;
  return 0;
}
EXPORT cuDeviceGetName(char* name, int, int) {
  std::strcpy(name, "Fake 1");
  return 0;
}
EXPORT cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = 1 << 20;
  return 0;
}
EXPORT cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == 75 ? 10 : attribute == 20 && behaviour() == "prohibited" ? kModeProhibited : 0;
  return 0;
}
EXPORT cuDevicePrimaryCtxRetain(void** context, int) {
  static int there;
  *context = &there;
  return behaviour() == "busy" ? kDeviceUnavailable : 0;
}
EXPORT cuCtxPushCurrent_v2(void*) { return 0; }
EXPORT cuCtxPopCurrent_v2(void**) { return 0; }
EXPORT cuModuleLoadDataEx(void**, const void*, unsigned, int*, void**) { return kNoBinary; }

// The others are there and fail.
#define MISSING(name) \
  EXPORT name() { return 1; }
MISSING(cuDeviceGetDefaultMemPool)
MISSING(cuMemPoolSetAttribute)
MISSING(cuDevicePrimaryCtxRelease_v2)
MISSING(cuDevicePrimaryCtxReset_v2)
MISSING(cuCtxSynchronize)
MISSING(cuModuleUnload)
MISSING(cuModuleGetFunction)
MISSING(cuFuncSetAttribute)
MISSING(cuMemGetInfo_v2)
MISSING(cuMemAlloc_v2)
MISSING(cuMemFree_v2)
MISSING(cuMemAllocAsync)
MISSING(cuMemFreeAsync)
MISSING(cuMemAllocHost_v2)
MISSING(cuMemFreeHost)
MISSING(cuMemcpyHtoDAsync_v2)
MISSING(cuMemcpyDtoHAsync_v2)
MISSING(cuMemsetD8Async)
MISSING(cuStreamCreate)
MISSING(cuStreamDestroy_v2)
MISSING(cuStreamSynchronize)
MISSING(cuEventCreate)
MISSING(cuEventDestroy_v2)
MISSING(cuEventRecord)
MISSING(cuEventElapsedTime)
MISSING(cuLaunchKernel)
MISSING(cuStreamBeginCapture_v2)
MISSING(cuStreamEndCapture)
MISSING(cuGraphLaunch)
MISSING(cuGraphDestroy)
MISSING(cuGraphExecDestroy)
#ifndef FAKE_DRIVER_WITHOUT_GRAPHS
MISSING(cuGraphInstantiateWithFlags)
#endif
