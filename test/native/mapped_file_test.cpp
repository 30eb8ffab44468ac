// Files in memory: what is mapped, shared parts, and files that are replaced or cut off while they are in use.
#include <doctest/doctest.h>

#if !defined(_WIN32)

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "plan/blob.h"

using namespace fewbit;

namespace {

constexpr size_t kPages = 9, kPage = 4096;

// A file of random name; gone at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(size_t size) : content_(size) {
    std::iota(content_.begin(), content_.end(), uint8_t{1});
    descriptor_ = mkstemp(&path_[0]);
    REQUIRE(descriptor_ >= 0);
    REQUIRE(write(descriptor_, content_.data(), size) == ssize_t(size));
  }
  ~TemporaryFile() {
    close(descriptor_);
    std::remove(path_.c_str());
  }
  void cut(size_t size) { REQUIRE(ftruncate(descriptor_, off_t(size)) == 0); }
  int descriptor() const { return descriptor_; }
  const std::string& path() const { return path_; }
  const std::vector<uint8_t>& content() const { return content_; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "fewbit-XXXXXX").string();
  int descriptor_ = -1;
  std::vector<uint8_t> content_;
};

std::vector<uint8_t> bytes_of(const Blob& blob) { return {blob.data(), blob.data() + blob.size()}; }

}  // namespace

TEST_CASE("a mapped file is read in place, in parts too, and outlives its name") {
  auto file = std::make_unique<TemporaryFile>(3 * kPage + 17);
  const std::vector<uint8_t> content = file->content();
  auto whole = std::make_unique<Blob>(std::make_shared<const MappedFile>(file->descriptor()));
  CHECK(bytes_of(*whole) == content);
  CHECK_FALSE(whole->writable());
  CHECK(whole->owned() == 0);
  const Blob part(*whole, 4160, 1000);
  CHECK(part.data() == whole->data() + 4160);
  whole.reset();
  file.reset();
  CHECK(bytes_of(part) == std::vector<uint8_t>(content.begin() + 4160, content.begin() + 5160));
  CHECK(part.file()->intact());
}

TEST_CASE("what is missing of a file that was cut off is zeros, and the mapping is not intact") {
  TemporaryFile file(kPages * kPage);
  const Blob blob(std::make_shared<const MappedFile>(file.descriptor()));
  const TemporaryFile other_file(kPages * kPage);
  const Blob other(std::make_shared<const MappedFile>(other_file.descriptor()));
  CHECK(blob.file()->intact());
  file.cut(2 * kPage);
  CHECK_FALSE(blob.file()->intact());
  std::vector<uint8_t> expected = file.content();
  std::fill(expected.begin() + 2 * kPage, expected.end(), uint8_t{0});
  CHECK(bytes_of(blob) == expected);
  CHECK(bytes_of(other) == other_file.content());
  CHECK(other.file()->intact());
}

TEST_CASE("a mapping is not intact when its file was cut off inside a page or written to") {
  TemporaryFile cut(2 * kPage);
  const MappedFile mapped_cut(cut.descriptor());
  cut.cut(2 * kPage - 1);
  CHECK_FALSE(mapped_cut.intact());

  const TemporaryFile written(kPage);
  const timespec long_ago[2] = {{1000, 0}, {1000, 0}};
  REQUIRE(futimens(written.descriptor(), long_ago) == 0);
  const MappedFile mapped_written(written.descriptor());
  CHECK(mapped_written.intact());
  REQUIRE(pwrite(written.descriptor(), "x", 1, 7) == 1);
  CHECK_FALSE(mapped_written.intact());
}

TEST_CASE("a place that was given back is taken anew") {
  const TemporaryFile file(kPage);
  for (int i = 0; i < 3000; ++i) REQUIRE_NOTHROW(MappedFile(file.descriptor()));
}

TEST_CASE("what cannot be mapped is refused") {
  CHECK_THROWS_AS(MappedFile(-1), std::runtime_error);
  const TemporaryFile empty(0);
  CHECK_THROWS_AS(MappedFile(empty.descriptor()), std::runtime_error);
  const int folder = open("/tmp", O_RDONLY);
  CHECK_THROWS_AS(MappedFile{folder}, std::runtime_error);
  close(folder);
}

#endif
