#include <doctest/doctest.h>

#include <string>

#include "format/json_bounds.h"

using namespace fewbit;

namespace {

JsonBounds bounds_of(const std::string& text) { return json_bounds(text.data(), text.size()); }

}  // namespace

TEST_CASE("json bounds: depth, values and members") {
  struct Case {
    const char* text;
    int depth, values, members;
  };
  for (const Case& c : {Case{"", 0, 1, 0}, Case{"1", 0, 1, 0}, Case{"[]", 1, 2, 0}, Case{"[1, 2, 3]", 1, 4, 0},
                        Case{R"({"a": 1, "b": {"c": [2, 3]}})", 3, 6, 2}, Case{R"({"a": 1, "a": 2})", 1, 3, 2},
                        Case{R"({"[{,:": "]}\\", "\"": "\\\""})", 1, 3, 2}, Case{R"(["never ends, \")", 1, 2, 0},
                        Case{R"("\)", 0, 1, 0}, Case{"]]]]", 0, 1, 0}, Case{"[[],[[]]]", 3, 6, 0}}) {
    CAPTURE(c.text);
    const JsonBounds bounds = bounds_of(c.text);
    CHECK(bounds.depth == c.depth);
    CHECK(bounds.values == c.values);
    CHECK(bounds.members == c.members);
  }
  CHECK(bounds_of(std::string(1 << 20, '[')).depth == 1 << 20);
}
