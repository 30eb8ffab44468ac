// A file in memory, read in place: its pages are shared with every process that maps it, and read when they are touched.
//
// A file that is replaced (written under another name and renamed, as this package writes) goes on existing for who mapped it.
// One that is changed in place does not: bytes that others write are seen, and touching what was cut off raises SIGBUS, which
// ends a process. So the first mapping installs a handler of that signal, which puts zeros in the place of missing pages of
// mapped files and leaves every other SIGBUS to the handler that was there before; and who has read asks intact() whether it
// was worth anything. Kernels compute wrong numbers from wrong bytes and do nothing worse.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fewbit {

class MappedFile {
 public:
  // The whole of an open regular file; `descriptor` may be closed afterwards. Throws std::runtime_error where that cannot be:
  // not a file, an empty one, no room in the address space, or a system without mmap.
  explicit MappedFile(int descriptor);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  // False when the file has another size or time of modification than when it was mapped: what was read may be anything.
  bool intact() const;
  // Before all of a part is read: its pages at once, which is a fraction of the work of one fault after the other. May do
  // nothing.
  void fetch(const uint8_t* data, size_t size) const;

 private:
  void release();

  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  int64_t modified_ = 0;  // nanoseconds
  int descriptor_ = -1;
  int slot_ = -1;
};

}  // namespace fewbit
