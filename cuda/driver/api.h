// The CUDA driver library, opened by name when it is first asked for. Its entry points are declared here, so that building
// needs none of its headers and running none of its libraries until a GPU is asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace fewbit::cuda {

using Result = int;
using DevicePointer = unsigned long long;
using ContextHandle = struct CUctx_st*;
using ModuleHandle = struct CUmod_st*;
using FunctionHandle = struct CUfunc_st*;
using StreamHandle = struct CUstream_st*;
using EventHandle = struct CUevent_st*;
using GraphHandle = struct CUgraph_st*;
using GraphExecHandle = struct CUgraphExec_st*;
using PoolHandle = struct CUmemPoolHandle_st*;

// Values of the driver's enumerations that are used.
constexpr Result kSuccess = 0, kOutOfMemory = 2, kNoDevice = 100, kNoBinaryForGpu = 209, kNotFound = 500;
namespace attribute {
constexpr int multiprocessors = 16, compute_mode = 20, major = 75, minor = 76, block_shared = 97, memory_pools = 115;
}
constexpr int kComputeModeProhibited = 2;
constexpr int kFunctionMaxDynamicShared = 8;
constexpr unsigned kStreamNonBlocking = 1;
constexpr int kCaptureThreadLocal = 1;
constexpr int kJitErrorLog = 5, kJitErrorLogBytes = 6;
constexpr int kPoolReleaseThreshold = 4;

// name, symbol, parameters. The suffixes are those of the 64-bit interface, which has not changed since CUDA 4; graphs need 12.0.
#define FEWBIT_CUDA_ENTRY_POINTS(X)                                                                                           \
  X(init, cuInit, (unsigned flags))                                                                                           \
  X(driver_version, cuDriverGetVersion, (int* version))                                                                       \
  X(error_name, cuGetErrorName, (Result error, const char** name))                                                            \
  X(error_string, cuGetErrorString, (Result error, const char** text))                                                        \
  X(device_count, cuDeviceGetCount, (int* count))                                                                             \
  X(device_get, cuDeviceGet, (int* device, int ordinal))                                                                      \
  X(device_name, cuDeviceGetName, (char* name, int length, int device))                                                       \
  X(device_memory, cuDeviceTotalMem_v2, (size_t * bytes, int device))                                                         \
  X(device_attribute, cuDeviceGetAttribute, (int* value, int attribute, int device))                                          \
  X(device_pool, cuDeviceGetDefaultMemPool, (PoolHandle * pool, int device))                                                  \
  X(pool_set, cuMemPoolSetAttribute, (PoolHandle pool, int attribute, void* value))                                           \
  X(context_retain, cuDevicePrimaryCtxRetain, (ContextHandle * context, int device))                                          \
  X(context_release, cuDevicePrimaryCtxRelease_v2, (int device))                                                              \
  X(context_reset, cuDevicePrimaryCtxReset_v2, (int device))                                                                  \
  X(context_push, cuCtxPushCurrent_v2, (ContextHandle context))                                                               \
  X(context_pop, cuCtxPopCurrent_v2, (ContextHandle * context))                                                               \
  X(context_synchronize, cuCtxSynchronize, ())                                                                                \
  X(module_load, cuModuleLoadDataEx, (ModuleHandle * module, const void* image, unsigned count, int* options, void** values)) \
  X(module_unload, cuModuleUnload, (ModuleHandle module))                                                                     \
  X(module_function, cuModuleGetFunction, (FunctionHandle * function, ModuleHandle module, const char* name))                 \
  X(function_set, cuFuncSetAttribute, (FunctionHandle function, int attribute, int value))                                    \
  X(memory_info, cuMemGetInfo_v2, (size_t * available, size_t * total))                                                       \
  X(allocate, cuMemAlloc_v2, (DevicePointer * pointer, size_t bytes))                                                         \
  X(free, cuMemFree_v2, (DevicePointer pointer))                                                                              \
  X(allocate_async, cuMemAllocAsync, (DevicePointer * pointer, size_t bytes, StreamHandle stream))                            \
  X(free_async, cuMemFreeAsync, (DevicePointer pointer, StreamHandle stream))                                                 \
  X(allocate_pinned, cuMemAllocHost_v2, (void** pointer, size_t bytes))                                                       \
  X(free_pinned, cuMemFreeHost, (void* pointer))                                                                              \
  X(copy_to_device, cuMemcpyHtoDAsync_v2, (DevicePointer target, const void* source, size_t bytes, StreamHandle stream))      \
  X(copy_to_host, cuMemcpyDtoHAsync_v2, (void* target, DevicePointer source, size_t bytes, StreamHandle stream))              \
  X(fill, cuMemsetD8Async, (DevicePointer target, unsigned char value, size_t bytes, StreamHandle stream))                    \
  X(stream_create, cuStreamCreate, (StreamHandle * stream, unsigned flags))                                                   \
  X(stream_destroy, cuStreamDestroy_v2, (StreamHandle stream))                                                                \
  X(stream_synchronize, cuStreamSynchronize, (StreamHandle stream))                                                           \
  X(event_create, cuEventCreate, (EventHandle * event, unsigned flags))                                                       \
  X(event_destroy, cuEventDestroy_v2, (EventHandle event))                                                                    \
  X(event_record, cuEventRecord, (EventHandle event, StreamHandle stream))                                                    \
  X(event_elapsed, cuEventElapsedTime, (float* milliseconds, EventHandle begin, EventHandle end))                             \
  X(launch, cuLaunchKernel,                                                                                                   \
    (FunctionHandle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,          \
     unsigned block_z, unsigned shared, StreamHandle stream, void** parameters, void** extra))                                \
  X(capture_begin, cuStreamBeginCapture_v2, (StreamHandle stream, int mode))                                                  \
  X(capture_end, cuStreamEndCapture, (StreamHandle stream, GraphHandle * graph))                                              \
  X(graph_instantiate, cuGraphInstantiateWithFlags, (GraphExecHandle * exec, GraphHandle graph, unsigned long long flags))    \
  X(graph_launch, cuGraphLaunch, (GraphExecHandle exec, StreamHandle stream))                                                 \
  X(graph_destroy, cuGraphDestroy, (GraphHandle graph))                                                                       \
  X(graph_exec_destroy, cuGraphExecDestroy, (GraphExecHandle exec))

struct Api {
#define FEWBIT_DECLARE(name, symbol, parameters) Result(*name) parameters;
  FEWBIT_CUDA_ENTRY_POINTS(FEWBIT_DECLARE)
#undef FEWBIT_DECLARE
};

// A call of the driver that failed; the message has the driver's name and text of the error.
class DriverError : public std::runtime_error {
 public:
  DriverError(Result result, const std::string& what);
  const Result result;
  // Whether the context is lost, and with it all device memory of this process: an access fault, a hung kernel, a device that
  // fell off the bus. What a call refuses (out of memory, a launch out of resources) leaves the context as it was.
  bool fatal() const;
};

// The library with its entry points, initialised.
// Throws std::runtime_error when there is no library, one that is too old, or no device; the same every time it is called.
const Api& api();

// The version of CUDA that the installed driver supports, 1000 * major + 10 * minor; 0 when none was opened.
int driver_version();

// Throws DriverError unless the call succeeded.
void check(Result result, const char* call);

#define FEWBIT_CUDA(name, ...) ::fewbit::cuda::check(::fewbit::cuda::api().name(__VA_ARGS__), #name)

}  // namespace fewbit::cuda
