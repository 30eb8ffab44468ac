#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "cpu/kernels.h"

using namespace fewbit;

TEST_CASE("paths: portable always runs, and what runs was built") {
  REQUIRE(paths().count == 5);
  CHECK(std::strcmp(paths().begin()->name, "portable") == 0);
  CHECK(paths().begin()->runs);
  for (const Path& path : paths()) {
    CAPTURE(path.name);
    CHECK(std::strlen(path.reason) > 0);
    if (path.runs) CHECK(path.kernels != nullptr);
    CHECK(find_path(path.name) == &path);
  }
}

TEST_CASE("paths: the default is the last that runs") {
  const Path* fastest = nullptr;
  for (const Path& path : paths())
    if (path.runs) fastest = &path;
  CHECK(find_path(nullptr) == fastest);
  CHECK(find_path("") == fastest);
  CHECK(find_path("sse9") == nullptr);
}
