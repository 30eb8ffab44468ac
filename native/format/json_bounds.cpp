#include "format/json_bounds.h"

#include <algorithm>

namespace fewbit {
namespace {

// Where the string ends that begins at `i`: at its quote, or behind the text.
size_t end_of_string(const char* text, size_t size, size_t i) {
  for (++i; i < size && text[i] != '"'; ++i)
    if (text[i] == '\\') ++i;
  return i;
}

}  // namespace

JsonBounds json_bounds(const char* text, size_t size) {
  JsonBounds bounds = {0, 1, 0};
  int64_t depth = 0;
  for (size_t i = 0; i < size; ++i) {
    switch (text[i]) {
      case '"':
        i = end_of_string(text, size, i);
        break;
      case '[':
      case '{':
        bounds.depth = std::max(bounds.depth, ++depth);
        ++bounds.values;
        break;
      case ',':
        ++bounds.values;
        break;
      case ']':
      case '}':
        --depth;
        break;
      case ':':
        bounds.members += depth == 1;
        break;
    }
  }
  return bounds;
}

}  // namespace fewbit
