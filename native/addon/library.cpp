#include "addon/library.h"

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace fewbit::addon {

std::string build_line() {
#if defined(__clang__)
  std::string line = "clang " __clang_version__;
#elif defined(__GNUC__)
  std::string line = "gcc " __VERSION__;
#elif defined(_MSC_VER)
  std::string line = "msvc " + std::to_string(_MSC_VER);
#else
  std::string line = "unknown compiler";
#endif
#if defined(__x86_64__) || defined(_M_X64)
  line += ", x86-64";
#elif defined(__aarch64__) || defined(_M_ARM64)
  line += ", arm64";
#endif
#ifdef NDEBUG
  line += ", release";
#else
  line += ", debug";
#endif
  return line + ", Node-API " + std::to_string(NAPI_VERSION);
}

#ifdef _WIN32

static HMODULE module_handle(DWORD flags) {
  HMODULE module = nullptr;
  flags |= GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS;
  return GetModuleHandleExW(flags, reinterpret_cast<LPCWSTR>(&library_file), &module) ? module : nullptr;
}

std::string library_file() {
  std::wstring path(32768, 0);
  path.resize(GetModuleFileNameW(module_handle(GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT), &path[0], DWORD(path.size())));
  std::string utf8(path.size() * 3, 0);
  utf8.resize(WideCharToMultiByte(CP_UTF8, 0, path.data(), int(path.size()), &utf8[0], int(utf8.size()), nullptr, nullptr));
  return utf8;
}

void pin_library() { module_handle(GET_MODULE_HANDLE_EX_FLAG_PIN); }

#else

std::string library_file() {
  Dl_info info;
  return dladdr(reinterpret_cast<void*>(&library_file), &info) && info.dli_fname ? info.dli_fname : "";
}

// A handle that is never closed; a second one for each environment costs nothing.
void pin_library() { dlopen(library_file().c_str(), RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE); }

#endif

}  // namespace fewbit::addon
