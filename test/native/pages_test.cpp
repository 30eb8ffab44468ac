// Advice about pages leaves memory as it is, whatever the range.
#include "plan/pages.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

using namespace fewbit;

TEST_CASE("pages are asked for in any range, large ones too, which changes nothing in it or around it") {
  constexpr size_t kMegabyte = size_t{1} << 20;
  std::vector<uint8_t> memory(9 * kMegabyte);
  for (size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<uint8_t>(i * 7 / 5);
  const std::vector<uint8_t> before = memory;
  for (size_t offset : {size_t{0}, size_t{1}, size_t{4096}, kMegabyte + 3}) {
    for (size_t size : {size_t{0}, size_t{1}, size_t{4095}, 2 * kMegabyte - 1, 2 * kMegabyte, 7 * kMegabyte + 17}) {
      prefer_large_pages(memory.data() + offset, size);
      make_pages(memory.data() + offset, size);
    }
  }
  prefer_large_pages(nullptr, 0);
  make_pages(nullptr, 0);
  CHECK(memory == before);
}
