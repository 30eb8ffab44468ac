#include "cuda/driver/api.h"

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace fewbit::cuda {
namespace {

#ifdef _WIN32
void* open_library(std::string* why) {
  void* library = LoadLibraryExA("nvcuda.dll", nullptr, LOAD_LIBRARY_SEARCH_SYSTEM32);
  if (!library) *why = "nvcuda.dll is not there";
  return library;
}
void* find_symbol(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}
#else
void* open_library(std::string* why) {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) *why = dlerror();
  return library;
}
void* find_symbol(void* library, const char* name) { return dlsym(library, name); }
#endif

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

// The library, or why there is none.
struct Library {
  Api api{};
  int version = 0;
  std::string fault;

  Library() { fault = open(); }

 private:
  std::string open() {
    std::string why;
    void* library = open_library(&why);
    if (!library) return "no NVIDIA driver is installed (" + why + ")";
    const char* missing = nullptr;
#define FEWBIT_FIND(name, symbol, parameters)                                       \
  api.name = reinterpret_cast<Result(*) parameters>(find_symbol(library, #symbol)); \
  if (!api.name && !missing) missing = #symbol;
    FEWBIT_CUDA_ENTRY_POINTS(FEWBIT_FIND)
#undef FEWBIT_FIND
    if (api.driver_version) api.driver_version(&version);
    if (missing) {
      return "the NVIDIA driver is too old: it supports CUDA " + version_text(version) + " and lacks " + missing +
             "; install a newer driver";
    }
    // A driver of the same major version runs the machine code of any toolkit of that version.
    if (FEWBIT_CUDA_VERSION / 1000 > version / 1000) {
      return "the NVIDIA driver is too old: it supports CUDA " + version_text(version) + ", and the kernels need CUDA " +
             std::to_string(FEWBIT_CUDA_VERSION / 1000) + ".0; install a newer driver";
    }
    const Result result = api.init(0);
    if (result == kNoDevice) return "the NVIDIA driver finds no device (CUDA_ERROR_NO_DEVICE)";
    if (result != kSuccess) return "the NVIDIA driver does not start: " + describe(result);
    return "";
  }

 public:
  std::string describe(Result result) const {
    const char *name = nullptr, *text = nullptr;
    if (api.error_name) api.error_name(result, &name);
    if (api.error_string) api.error_string(result, &text);
    std::string line = name ? name : "CUDA error " + std::to_string(result);
    return text ? line + ", " + text : line;
  }
};

// Never destroyed: sessions may still free memory while the process ends.
const Library& library() {
  static const Library* opened = new Library;
  return *opened;
}

}  // namespace

DriverError::DriverError(Result result, const std::string& what)
    : std::runtime_error("CUDA: " + what + " failed: " + library().describe(result)), result(result) {}

bool DriverError::fatal() const {
  switch (result) {
    case 4:    // DEINITIALIZED
    case 201:  // INVALID_CONTEXT
    case 214:  // ECC_UNCORRECTABLE
    case 220:  // NVLINK_UNCORRECTABLE
    case 709:  // CONTEXT_IS_DESTROYED
      return true;
    default:
      // From ILLEGAL_ADDRESS to LAUNCH_FAILED, but for LAUNCH_OUT_OF_RESOURCES and what was asked for wrongly in between.
      return result == 700 || result == 702 || result == 710 || (result >= 714 && result <= 719);
  }
}

const Api& api() {
  if (!library().fault.empty()) throw std::runtime_error(library().fault);
  return library().api;
}

int driver_version() { return library().version; }

void check(Result result, const char* call) {
  if (result != kSuccess) throw DriverError(result, call);
}

}  // namespace fewbit::cuda
