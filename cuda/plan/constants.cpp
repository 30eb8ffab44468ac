#include "cuda/plan/constants.h"

#include <utility>

namespace fewbit::cuda {
namespace {
constexpr size_t kAlignment = 256;
}

DevicePointer Constants::put(const void* host, size_t bytes) { return place({host, bytes, 0}, nullptr); }

DevicePointer Constants::put(const void* host, size_t bytes, int order, std::function<void(uint8_t*)> write) {
  return place({host, bytes, order}, std::move(write));
}

DevicePointer Constants::place(const Key& key, std::function<void(uint8_t*)> write) {
  const auto [at, added] = entries_.try_emplace(key, Entry{bytes_, nullptr});
  if (added) {
    at->second.write = std::move(write);
    bytes_ += (key.bytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  // Not null without memory: whether a pointer is null means something.
  return (buffer_.address() ? buffer_.address() : kAlignment) + at->second.offset;
}

void Constants::upload(const Context& context, const Stream& stream) {
  buffer_ = DeviceBuffer(bytes_, context, stream);
  std::vector<uint8_t> written;
  for (const auto& [key, entry] : entries_) {
    const void* from = key.host;
    if (key.order) {
      written.resize(key.bytes);
      entry.write(written.data());
      from = written.data();
    }
    FEWBIT_CUDA(copy_to_device, buffer_.address() + entry.offset, from, key.bytes, stream.handle());
    if (key.order) stream.synchronize();  // before `written` is used again
  }
  stream.synchronize();
}

}  // namespace fewbit::cuda
