// The constants of a plan on the device, each once, in one piece of memory.
#pragma once

#include <functional>
#include <map>
#include <tuple>
#include <vector>

#include "cuda/driver/memory.h"
#include "plan/plan.h"

namespace fewbit::cuda {

template <class T>
T* pointer(DevicePointer address) {
  return reinterpret_cast<T*>(address);
}

inline const uint8_t* host_bytes(const Plan& plan, const Constant& constant) {
  return plan.blobs[constant.blob]->data() + constant.offset;
}

// Used in two rounds: binding a plan asks for all constants while there is no memory yet, and gets addresses that mean nothing;
// upload() makes them, and binding again gives the real ones.
class Constants {
 public:
  // The host memory must stay until upload().
  DevicePointer put(const void* host, size_t bytes);
  // Bytes in another order than the host has them; `write` makes them. host, bytes and order (1, 2, ...) tell them from others.
  DevicePointer put(const void* host, size_t bytes, int order, std::function<void(uint8_t*)> write);

  // Waits for the copies.
  void upload(const Context& context, const Stream& stream);
  size_t bytes() const { return bytes_; }

 private:
  struct Key {
    const void* host;
    size_t bytes;
    int order;  // 0: as the host has them
    bool operator<(const Key& o) const { return std::tie(host, bytes, order) < std::tie(o.host, o.bytes, o.order); }
  };
  struct Entry {
    size_t offset;
    std::function<void(uint8_t*)> write;
  };
  DevicePointer place(const Key& key, std::function<void(uint8_t*)> write);

  std::map<Key, Entry> entries_;
  size_t bytes_ = 0;
  DeviceBuffer buffer_;
};

}  // namespace fewbit::cuda
