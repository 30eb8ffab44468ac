#include "cuda/driver/memory.h"

namespace fewbit::cuda {

DeviceBuffer::DeviceBuffer(size_t bytes, const Context& context, const Stream& stream) {
  if (!bytes) return;
  const bool pooled = context.has_pools();
  const Result result = pooled ? api().allocate_async(&address_, bytes, stream.handle()) : api().allocate(&address_, bytes);
  if (result == kSuccess) {
    stream_ = pooled ? stream.handle() : nullptr;
    return;
  }
  address_ = 0;
  throw DriverError(result, "allocating " + std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB on " + context.name());
}

DeviceBuffer::~DeviceBuffer() {
  if (!address_) return;
  if (stream_)
    api().free_async(address_, stream_);
  else
    api().free(address_);
}

PinnedBuffer::PinnedBuffer(size_t bytes) {
  if (bytes) FEWBIT_CUDA(allocate_pinned, &data_, bytes);
}

PinnedBuffer::~PinnedBuffer() {
  if (data_) api().free_pinned(data_);
}

}  // namespace fewbit::cuda
