// first_outside against a loop, with the odd value at every place around the edges of its blocks.
#include "format/floats.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

using namespace fewbit;

TEST_CASE("the first value outside is found wherever it is, and bounds are inside") {
  const float inf = std::numeric_limits<float>::infinity();
  const float above = std::nextafter(2.0f, inf), below = std::nextafter(-1.0f, -inf);
  for (int count : {0, 1, 15, 16, 17, 4095, 4096, 4097, 8193}) {
    std::vector<float> x(count);
    for (int i = 0; i < count; ++i) x[i] = i % 3 == 0 ? -1.0f : i % 3 == 1 ? 2.0f : 0.5f;
    CHECK(first_outside(x.data(), count, -1.0f, 2.0f) == -1);
    for (int at : {0, 1, 14, 15, 16, 4094, 4095, 4096, 8191, 8192}) {
      if (at >= count) continue;
      for (float odd : {above, below, inf, -inf, std::nanf("")}) {
        const float kept = x[at], last = x[count - 1];
        x[count - 1] = -inf;
        x[at] = odd;
        CHECK(first_outside(x.data(), count, -1.0f, 2.0f) == at);
        x[count - 1] = last;
        x[at] = kept;
      }
    }
  }
}

TEST_CASE("subnormal numbers and both zeros are what they are") {
  const float tiny = std::numeric_limits<float>::denorm_min();
  const std::vector<float> x = {0.0f, -0.0f, tiny, -tiny};
  CHECK(first_outside(x.data(), 4, 0.0f, 1.0f) == 3);
  CHECK(first_outside(x.data(), 4, tiny, 1.0f) == 0);
  CHECK(first_outside(x.data(), 4, -tiny, tiny) == -1);
}
