// Constants and state of plans in 64-byte aligned memory, which is what vector loads and cache lines ask for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "plan/mapped_file.h"
#include "plan/pages.h"

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
    prefer_large_pages(block_, size);
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

// Memory of its own, or a mapped file, or a part of either; parts share what they are parts of.
class Blob {
 public:
  explicit Blob(size_t size)
      : memory_(std::make_shared<const AlignedBuffer>(size)), data_(memory_->data()), size_(memory_->size()) {}
  explicit Blob(std::shared_ptr<const MappedFile> file)
      : file_(std::move(file)), data_(const_cast<uint8_t*>(file_->data())), size_(file_->size()) {}
  // offset: a multiple of 64; offset + size is at most the size of the whole.
  Blob(const Blob& whole, size_t offset, size_t size)
      : memory_(whole.memory_), file_(whole.file_), data_(whole.data_ + offset), size_(size) {}

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  // Mapped files may only be read.
  bool writable() const { return !file_; }
  // Null, or the file that this is a part of.
  const MappedFile* file() const { return file_.get(); }
  // Bytes that nobody else has: 0 of a file and of a part.
  size_t owned() const { return memory_ && data_ == memory_->data() ? size_ : 0; }

 private:
  std::shared_ptr<const AlignedBuffer> memory_;
  std::shared_ptr<const MappedFile> file_;
  uint8_t* data_;
  size_t size_;
};

// What to say of a file that is not intact.
constexpr const char* kFileChanged = "the file of this model was changed while it was in use: load the model again";

}  // namespace fewbit
