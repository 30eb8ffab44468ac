#include "plan/mapped_file.h"

#include <stdexcept>

#ifdef _WIN32

namespace fewbit {

MappedFile::MappedFile(int) { throw std::runtime_error("files are not mapped on this system"); }
MappedFile::~MappedFile() = default;
void MappedFile::release() {}
bool MappedFile::intact() const { return true; }
void MappedFile::fetch(const uint8_t*, size_t) const {}

}  // namespace fewbit

#else

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <string>

namespace fewbit {
namespace {

#ifdef __linux__
// MADV_POPULATE_READ of Linux 5.14, which older headers lack.
constexpr int kPopulateRead = 22;
#else
constexpr int kPopulateRead = MADV_WILLNEED;
#endif

// What the handler may look at: it takes no lock and allocates nothing. A mapping is written before its begin is, and its begin
// is cleared before it is unmapped.
struct Slot {
  std::atomic<uintptr_t> begin{0}, end{0};
};
constexpr int kSlots = 1024;
Slot slots[kSlots];
std::mutex slots_mutex;  // for taking a slot

struct sigaction previous;
uintptr_t page_size;

// Zeros for the page of `address` when it belongs to a mapped file.
bool replace_page(uintptr_t address) {
  for (Slot& slot : slots) {
    const uintptr_t begin = slot.begin.load();
    if (begin == 0 || address < begin || address >= slot.end.load()) continue;
    void* const page = reinterpret_cast<void*>(address / page_size * page_size);
    return mmap(page, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
  }
  return false;
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  const bool replaced = replace_page(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = error;
  if (replaced) return;
  if (previous.sa_flags & SA_SIGINFO) return previous.sa_sigaction(signal, info, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) return previous.sa_handler(signal);
  // As if there were no handler: the instruction is tried once more and the signal takes its course.
  sigaction(signal, &previous, nullptr);
}

void install_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    struct sigaction action = {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous);
  });
}

int64_t modified(const struct stat& status) {
#if defined(__APPLE__)
  const timespec& time = status.st_mtimespec;
#else
  const timespec& time = status.st_mtim;
#endif
  return int64_t(time.tv_sec) * 1000000000 + time.tv_nsec;
}

// -1 when all are taken.
int take_slot(uintptr_t begin, size_t size) {
  const std::lock_guard<std::mutex> lock(slots_mutex);
  for (int i = 0; i < kSlots; ++i) {
    Slot& slot = slots[i];
    if (slot.begin.load() != 0) continue;
    slot.end.store(begin + size);
    slot.begin.store(begin);
    return i;
  }
  return -1;
}

}  // namespace

MappedFile::MappedFile(int descriptor) {
  const auto fail = [](const char* why) { return std::runtime_error(std::string("cannot map a file: ") + why); };
  struct stat status;
  if (fstat(descriptor, &status) != 0) throw fail(std::strerror(errno));
  if (!S_ISREG(status.st_mode) || status.st_size <= 0) throw fail("it is empty or no file");
  install_handler();
  size_ = static_cast<size_t>(status.st_size);
  modified_ = modified(status);
  void* const data = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (data == MAP_FAILED) throw fail(std::strerror(errno));
  data_ = static_cast<const uint8_t*>(data);
  slot_ = take_slot(reinterpret_cast<uintptr_t>(data), size_);
  descriptor_ = slot_ < 0 ? -1 : fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (descriptor_ < 0) {
    release();
    throw fail("too many are mapped or open");
  }
  madvise(data, size_, MADV_WILLNEED);
}

MappedFile::~MappedFile() { release(); }

void MappedFile::release() {
  if (descriptor_ >= 0) close(descriptor_);
  if (slot_ >= 0) slots[slot_].begin.store(0);
  munmap(const_cast<uint8_t*>(data_), size_);
}

void MappedFile::fetch(const uint8_t* data, size_t size) const {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data) / page_size * page_size;
  // An older kernel refuses, and pages come when they are touched.
  madvise(reinterpret_cast<void*>(begin), reinterpret_cast<uintptr_t>(data) + size - begin, kPopulateRead);
}

bool MappedFile::intact() const {
  struct stat status;
  return fstat(descriptor_, &status) == 0 && static_cast<size_t>(status.st_size) == size_ && modified(status) == modified_;
}

}  // namespace fewbit

#endif
