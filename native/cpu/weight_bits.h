// From a width that is known at run time to one that is known when the kernel is compiled.
#pragma once

#include <type_traits>

namespace fewbit {
namespace {

// Calls body(std::integral_constant<int, bits>()) for bits in 2..7: plain bytes need no decoding.
template <class Body>
inline void with_packed_bits(int bits, Body body) {
  switch (bits) {
    case 2:
      return body(std::integral_constant<int, 2>());
    case 3:
      return body(std::integral_constant<int, 3>());
    case 4:
      return body(std::integral_constant<int, 4>());
    case 5:
      return body(std::integral_constant<int, 5>());
    case 6:
      return body(std::integral_constant<int, 6>());
    case 7:
      return body(std::integral_constant<int, 7>());
  }
}

}  // namespace
}  // namespace fewbit
