// The file of kernels: what nvcc made of each source, one behind the other. Machine code may be compressed, so that only the
// driver can read it, and then stands in a fatbin of its own before that of the PTX.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fewbit::cuda {

// One source, compiled for one architecture.
struct Image {
  enum Kind { ptx = 1, machine_code = 2 } kind;
  int architecture;  // 80 is compute capability 8.0
  const char* data;  // PTX is text that ends with a zero
  // The whole entry of a fatbin, of which data is the payload.
  const char* entry;
  size_t bytes;
};

// What nvcc made of one source.
struct Fatbin {
  // For the driver, which chooses among the images by itself; ptx: where no machine code fits the device, null if that is data.
  const char *data, *ptx;
  std::vector<Image> images;
};

// A fatbin of one image.
std::vector<char> fatbin_of(const Image& image);

class KernelFile {
 public:
  // Throws std::runtime_error when the file is not there or broken.
  explicit KernelFile(const std::string& file);
  KernelFile(const KernelFile&) = delete;

  const std::vector<Fatbin>& fatbins() const { return fatbins_; }
  // "sm_80, sm_86, compute_80 (PTX)", of the first source: all are compiled alike.
  std::string architectures() const;

 private:
  std::vector<char> bytes_;
  std::vector<Fatbin> fatbins_;
};

}  // namespace fewbit::cuda
