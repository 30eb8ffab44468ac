// The file of kernels, whole and broken.
#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "cuda/driver/images.h"

using namespace fewbit::cuda;

namespace {

// A file in the working directory as long as this lives.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes) { std::ofstream(name(), std::ios::binary) << bytes; }
  ~TemporaryFile() { std::remove(name()); }
  static const char* name() { return "fewbit_images_test.fatbin"; }
};

std::string kernels() {
  std::ifstream in(FEWBIT_FATBIN, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void check_broken(const std::string& bytes) {
  const TemporaryFile file(bytes);
  CHECK_THROWS_WITH(KernelFile(file.name()), doctest::Contains("is broken"));
}

}  // namespace

TEST_SUITE_BEGIN("host");

TEST_CASE("the file of kernels has PTX of every source") {
  if (kernels().empty()) return;
  const KernelFile file(FEWBIT_FATBIN);
  CHECK(file.fatbins().size() > 5);
  CHECK(file.architectures().find("compute_80 (PTX)") != std::string::npos);
  for (const Fatbin& fatbin : file.fatbins()) {
    bool ptx = false;
    for (const Image& image : fatbin.images)
      ptx = ptx || (image.kind == Image::ptx && std::string(image.data).find(".entry") != std::string::npos);
    CHECK(ptx);
  }
}

TEST_CASE("a file of kernels that is missing or broken is an error") {
  CHECK_THROWS_WITH(KernelFile("nowhere.fatbin"), doctest::Contains("built without nvcc"));
  CHECK_THROWS_WITH(KernelFile("."), doctest::Contains("cannot be read"));
  check_broken("");
  check_broken("fatbin");
  const std::string whole = kernels();
  for (size_t size : {size_t(10), size_t(16), size_t(60), whole.size() / 2, whole.size() - 1})
    if (size < whole.size()) check_broken(whole.substr(0, size));
  check_broken(whole + "more");
  // Sizes that point outside of the file.
  for (size_t at : {6, 8, 15, 20, 24, 31})
    if (at < whole.size()) {
      std::string wrong = whole;
      wrong[at] = static_cast<char>(0xFF);
      const TemporaryFile file(wrong);
      try {
        KernelFile kernels(file.name());
      } catch (const std::runtime_error&) {
      }
    }
}

TEST_SUITE_END();
