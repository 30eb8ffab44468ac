// Device memory for tests, and kernels run to their end. A test calls these in the scope of main.cpp.
#pragma once

#include <cstring>
#include <vector>

#include "buffers.h"
#include "cuda/driver/context.h"
#include "cuda/ops/device.h"

namespace fewbit::cuda {

// Copies of host arrays on the device, at addresses with the same place in a line of 256 bytes, as long as this lives.
class Mirror {
 public:
  Mirror() = default;
  Mirror(const Mirror&) = delete;
  ~Mirror() {
    for (const Entry& entry : entries_) api().free(entry.block);
  }

  // Null stays null. Reading beyond the copy is an access outside of memory, and so is reading before it.
  template <class T>
  T* up(T* host, size_t count) {
    if (!host) return nullptr;
    const size_t bytes = count * sizeof(T), place = reinterpret_cast<uintptr_t>(host) % 256;
    Entry entry{};
    FEWBIT_CUDA(allocate, &entry.block, place + (bytes ? bytes : 1));
    entry.host = host, entry.device = entry.block + place, entry.bytes = bytes;
    entries_.push_back(entry);
    FEWBIT_CUDA(copy_to_device, entry.device, host, bytes, nullptr);
    return reinterpret_cast<T*>(entry.device);
  }
  template <class T>
  T* up(const Aligned<T>& host) {
    return up(host.data(), host.size());
  }
  // With its guards, so that down() shows what was written around it.
  template <class T>
  T* up(Guarded<T>& host) {
    auto* bytes = const_cast<uint8_t*>(host.bytes().data());
    return reinterpret_cast<T*>(up(bytes, host.bytes().size()) + (reinterpret_cast<uint8_t*>(host.data()) - bytes));
  }

  // Device memory that holds no copy.
  template <class T>
  T* make(size_t count) {
    Entry entry{};
    FEWBIT_CUDA(allocate, &entry.block, count ? count * sizeof(T) : 1);
    entries_.push_back(entry);
    return reinterpret_cast<T*>(entry.block);
  }

  // Copies an array back to where it came from.
  void down(const void* host) {
    for (const Entry& entry : entries_)
      if (entry.host == host) FEWBIT_CUDA(copy_to_host, const_cast<void*>(entry.host), entry.device, entry.bytes, nullptr);
    FEWBIT_CUDA(context_synchronize);
  }
  template <class T>
  void down(Guarded<T>& host) {
    down(host.bytes().data());
  }

 private:
  struct Entry {
    DevicePointer block, device;
    const void* host;
    size_t bytes;
  };
  std::vector<Entry> entries_;
};

inline const Device& device() { return Context::of(0).device(); }

// Launches and waits.
template <class Params>
void run(const Params& params, const Launch& launch) {
  const FunctionHandle function = Context::of(0).function(launch);
  void* arguments[] = {const_cast<Params*>(&params)};
  const auto& [gx, gy, gz] = launch.grid;
  const auto& [bx, by, bz] = launch.block;
  FEWBIT_CUDA(launch, function, gx, gy, gz, bx, by, bz, launch.shared, nullptr, arguments, nullptr);
  FEWBIT_CUDA(context_synchronize);
}

}  // namespace fewbit::cuda
