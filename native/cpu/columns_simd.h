// Loops over the columns of a row, 16 at a time.
#pragma once

namespace fewbit {
namespace {

// body(column, lanes): all lanes exist but at the end. Two loops, so that the compiler knows in the first.
template <class Body>
inline void for_columns(int width, Body body) {
  const int whole = width & ~15;
  for (int c = 0; c < whole; c += 16) body(c, Lanes(16));
  if (whole < width) body(whole, Lanes(width - whole));
}

}  // namespace
}  // namespace fewbit
