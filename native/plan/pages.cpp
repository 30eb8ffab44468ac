#include "plan/pages.h"

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#endif

namespace fewbit {

#ifdef __linux__
// Of x86-64, and of other processors with pages of 4 KiB.
constexpr uintptr_t kLargePage = uintptr_t{1} << 21;

// MADV_POPULATE_WRITE of Linux 5.14, which older headers lack.
constexpr int kPopulateWrite = 23;

void make_pages(void* data, size_t size) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t last = (begin + size) / page * page;
  // An older kernel refuses, and pages come when they are touched.
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, kPopulateWrite);
}

void prefer_large_pages(void* data, size_t size) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const uintptr_t first = (begin + kLargePage - 1) / kLargePage * kLargePage;
  const uintptr_t last = (begin + size) / kLargePage * kLargePage;
  // Advice: where it is refused, pages are small.
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}
#else
void make_pages(void*, size_t) {}
void prefer_large_pages(void*, size_t) {}
#endif

}  // namespace fewbit
