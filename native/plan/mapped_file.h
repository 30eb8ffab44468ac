// A file in memory, read in place: its pages are shared with every process that maps it, and read when they are touched.
//
// A file that is replaced (written under another name and renamed, as this package writes) goes on existing for who mapped it.
// One that is cut off in place does not: touching what is missing raises SIGBUS, which ends a process. So the first mapping
// installs a handler of that signal, which puts zeros in the place of missing pages of mapped files, remembers that the file is
// not intact any more, and leaves every other SIGBUS to the handler that was there before. Who reads a mapping asks intact()
// afterwards. Bytes that others overwrite in place are seen, as with any mapping; kernels compute wrong numbers from them and
// nothing worse.
#pragma once

#include <atomic>
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
  // False once a part was found missing: what was read since the last true may be zeros.
  bool intact() const;

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  int slot_ = -1;
};

}  // namespace fewbit
