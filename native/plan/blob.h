// 64-byte aligned memory: what vector loads and cache lines ask for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace fewbit {

constexpr size_t kAlignment = 64;

// Zeroed. calloc, because a large one costs nothing until its pages are touched.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size) : size_(size) {
    if (size > SIZE_MAX - kAlignment) throw std::bad_alloc();
    block_ = std::calloc(size + kAlignment, 1);
    if (!block_) throw std::bad_alloc();
  }
  ~AlignedBuffer() { std::free(block_); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer(AlignedBuffer&& other) noexcept { *this = std::move(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(size_, other.size_);
    return *this;
  }

  // Not null, even for no bytes, unless default-constructed.
  uint8_t* data() const {
    const auto address = reinterpret_cast<uintptr_t>(block_);
    return reinterpret_cast<uint8_t*>((address + kAlignment - 1) / kAlignment * kAlignment);
  }
  size_t size() const { return size_; }

 private:
  void* block_ = nullptr;
  size_t size_ = 0;
};

// Constants and state of plans; shared by reference (std::shared_ptr).
using Blob = AlignedBuffer;

}  // namespace fewbit
