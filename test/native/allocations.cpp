#include "allocations.h"

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define FEWBIT_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FEWBIT_SANITIZED 1
#endif

#if defined(__GLIBC__) && !defined(FEWBIT_SANITIZED)

#include <atomic>
#include <cerrno>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {
std::atomic<long> count{0};
}

extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* block, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
}

EXPORT void* malloc(size_t size) {
  ++count;
  return __libc_malloc(size);
}
EXPORT void* calloc(size_t elements, size_t size) {
  ++count;
  return __libc_calloc(elements, size);
}
EXPORT void* realloc(void* block, size_t size) {
  ++count;
  return __libc_realloc(block, size);
}
EXPORT void* aligned_alloc(size_t alignment, size_t size) {
  ++count;
  return __libc_memalign(alignment, size);
}
EXPORT int posix_memalign(void** block, size_t alignment, size_t size) {
  ++count;
  *block = __libc_memalign(alignment, size);
  return *block ? 0 : ENOMEM;
}

long fewbit::allocations() { return count; }

#else

long fewbit::allocations() { return -1; }

#endif
