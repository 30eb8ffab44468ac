// Memory of a session: a stream, device memory from the driver's pool, and pinned host memory.
#pragma once

#include <utility>

#include "cuda/driver/context.h"

namespace fewbit::cuda {

// What is destroyed after its context was lost frees nothing: it went with the context. Everything here is made and destroyed
// in a scope of the context.

class Stream {
 public:
  Stream() { FEWBIT_CUDA(stream_create, &handle_, kStreamNonBlocking); }
  ~Stream() { api().stream_destroy(handle_); }
  Stream(const Stream&) = delete;
  StreamHandle handle() const { return handle_; }
  void synchronize() const { FEWBIT_CUDA(stream_synchronize, handle_); }

 private:
  StreamHandle handle_ = nullptr;
};

// Freed in the order of the stream.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // Throws DriverError with kOutOfMemory when there is not enough.
  DeviceBuffer(size_t bytes, const Context& context, const Stream& stream);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(stream_, other.stream_);
    return *this;
  }
  // A multiple of 256; 0 for a buffer of nothing.
  DevicePointer address() const { return address_; }

 private:
  DevicePointer address_ = 0;
  StreamHandle stream_ = nullptr;  // null: not from the pool
};

// Host memory that the device copies from and to by itself.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(size_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  uint8_t* data() const { return static_cast<uint8_t*>(data_); }

 private:
  void* data_ = nullptr;
};

}  // namespace fewbit::cuda
