// What a JSON text would become, before a parser sees it: of files that nobody vouches for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fewbit {

struct JsonBounds {
  int64_t depth;    // of objects and lists in each other
  int64_t values;   // at most as many: each but the first follows on a comma or on what opens a list or object
  int64_t members;  // of the outermost object, repeated ones too
};

// UTF-8. Of a text that is no JSON the numbers mean nothing.
JsonBounds json_bounds(const char* text, size_t size);

}  // namespace fewbit
