// Buffers that make a kernel's mistakes visible.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace fewbit {

// Exactly `count` elements at a multiple of 64 bytes, filled with a pattern (a huge float, a wild integer), so that neither a
// read beyond the end (address sanitizer) nor the use of what was never written goes unseen.
template <class T>
class Aligned {
 public:
  explicit Aligned(size_t count) : count_(count), data_(allocate(count * sizeof(T))) {}
  T* data() const { return data_.get(); }
  size_t size() const { return count_; }

 private:
  static T* allocate(size_t bytes) {
    void* p = nullptr;
    if (posix_memalign(&p, 64, bytes ? bytes : 1) != 0) throw std::bad_alloc();
    std::memset(p, 0x7B, bytes);
    return static_cast<T*>(p);
  }
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  size_t count_;
  std::unique_ptr<T, Free> data_;
};

// An output of `count` elements at an address that is a multiple of an element's size and of nothing else, with guard elements
// before and behind; all is filled with the same byte, so equal images mean equal outputs and no write anywhere else.
template <class T>
class Guarded {
 public:
  explicit Guarded(size_t count) : bytes_((count + 2 * kGuard + 1) * sizeof(T), 0xCD) {}
  T* data() { return reinterpret_cast<T*>(bytes_.data()) + kGuard + 1; }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

  // The other elements than rows [rows][width] at `stride` still hold the fill.
  bool untouched_around(int rows, int width, ptrdiff_t stride) const {
    const ptrdiff_t begin = kGuard + 1, total = static_cast<ptrdiff_t>(bytes_.size() / sizeof(T));
    for (ptrdiff_t i = 0; i < total; ++i) {
      const ptrdiff_t at = i - begin;
      if (at >= 0 && at < (rows - 1) * stride + width && at % stride < width) continue;
      for (size_t b = 0; b < sizeof(T); ++b)
        if (bytes_[i * sizeof(T) + b] != 0xCD) return false;
    }
    return true;
  }

 private:
  static constexpr ptrdiff_t kGuard = 64;
  std::vector<uint8_t> bytes_;
};

}  // namespace fewbit
