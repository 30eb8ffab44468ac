#include "cuda/driver/images.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace fewbit::cuda {
namespace {

// A fatbin is a header and images; an image is a header and its payload. All numbers are little endian. Of the headers these
// fields are read:
constexpr uint32_t kMagic = 0xBA55ED50;
constexpr size_t kVersion = 4;      // uint16
constexpr size_t kHeaderBytes = 6;  // uint16: bytes of the header of the fatbin
constexpr size_t kImagesBytes = 8;  // uint64: bytes of all images behind it
constexpr size_t kFatbinHeader = 16;
constexpr size_t kKind = 0;           // uint16: Image::Kind
constexpr size_t kImageHeader = 4;    // uint32: bytes of the header of the image
constexpr size_t kPayload = 8;        // uint64: bytes of its payload
constexpr size_t kArchitecture = 28;  // uint32
constexpr size_t kLeastImageHeader = 32;

template <class T>
T number(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Reads the fatbin at `at` and moves behind it; false when it does not lie inside.
bool read(const char*& at, const char* end, Fatbin* fatbin) {
  if (size_t(end - at) < kFatbinHeader || number<uint32_t>(at) != kMagic) return false;
  fatbin->data = at;
  const size_t header = number<uint16_t>(at + kHeaderBytes);
  const uint64_t size = number<uint64_t>(at + kImagesBytes);
  if (header < kFatbinHeader || header > size_t(end - at) || size > uint64_t(end - at) - header) return false;
  at += header;
  const char* behind = at + size;
  while (size_t(behind - at) >= kLeastImageHeader) {
    const size_t image_header = number<uint32_t>(at + kImageHeader);
    const uint64_t payload = number<uint64_t>(at + kPayload);
    if (image_header < kLeastImageHeader || image_header > size_t(behind - at)) return false;
    if (payload == 0 || payload > uint64_t(behind - at) - image_header) return false;
    const auto kind = Image::Kind(number<uint16_t>(at + kKind));
    const bool text = kind == Image::ptx && std::memchr(at + image_header, 0, payload);
    if (text || kind == Image::machine_code)
      fatbin->images.push_back(
          {kind, static_cast<int>(number<uint32_t>(at + kArchitecture)), at + image_header, at, size_t(image_header + payload)});
    at += image_header + payload;
  }
  at = behind;
  return true;
}

bool has_ptx(const Fatbin& fatbin) {
  for (const Image& image : fatbin.images)
    if (image.kind == Image::ptx) return true;
  return false;
}

}  // namespace

std::vector<char> fatbin_of(const Image& image) {
  std::vector<char> fatbin(kFatbinHeader + image.bytes);
  const uint16_t version = 1, header = kFatbinHeader;
  const uint64_t size = image.bytes;
  std::memcpy(fatbin.data(), &kMagic, sizeof kMagic);
  std::memcpy(fatbin.data() + kVersion, &version, sizeof version);
  std::memcpy(fatbin.data() + kHeaderBytes, &header, sizeof header);
  std::memcpy(fatbin.data() + kImagesBytes, &size, sizeof size);
  std::memcpy(fatbin.data() + kFatbinHeader, image.entry, image.bytes);
  return fatbin;
}

KernelFile::KernelFile(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw std::runtime_error("the kernels are not there (" + file + "): this package was built without nvcc");
  try {
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
  } catch (const std::ios_base::failure&) {
    throw std::runtime_error("the file of kernels cannot be read (" + file + ")");
  }
  const char *at = bytes_.data(), *end = at + bytes_.size();
  do {
    Fatbin fatbin{};
    if (!read(at, end, &fatbin) || fatbin.images.empty())
      throw std::runtime_error("the file of kernels is broken (" + file + "); build or install the package again");
    if (fatbins_.empty() || has_ptx(fatbins_.back())) {
      fatbins_.push_back(std::move(fatbin));
    } else {
      Fatbin& machine = fatbins_.back();
      machine.ptx = fatbin.data;
      machine.images.insert(machine.images.end(), fatbin.images.begin(), fatbin.images.end());
    }
  } while (at < end);
}

std::string KernelFile::architectures() const {
  std::string list;
  for (const Image& image : fatbins_.front().images) {
    const std::string name = std::to_string(image.architecture);
    list += (list.empty() ? "" : ", ") + (image.kind == Image::ptx ? "compute_" + name + " (PTX)" : "sm_" + name);
  }
  return list;
}

}  // namespace fewbit::cuda
