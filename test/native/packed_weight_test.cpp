#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "format/packed_weight.h"

using namespace fewbit;

namespace {

// The formula of packed_weight.h once more, read as a table look-up for a single weight, without its code.
int read_weight(const std::vector<uint8_t>& packed, int inputs, int bits, int output, int input) {
  static const std::vector<int> planes[9] = {{}, {}, {2}, {2, 1}, {4}, {4, 1}, {4, 2}, {4, 2, 1}, {}};
  const int b = output / 16, n = output % 16, c = input / 32, r = input % 32 / 4, j = input % 4;
  const int blocks_in_a_panel = (inputs + 31) / 32;
  const size_t block = size_t(b * blocks_in_a_panel + c) * 64 * bits;
  const int byte = 4 * n + j;
  if (bits == 8) return static_cast<int8_t>(packed.at(block + 64 * r + byte));
  int u = 0;
  size_t plane = block;
  for (int p : planes[bits]) {
    const int v = packed.at(plane + 64 * (r / (8 / p)) + byte);
    u = u * (1 << p) + v / (1 << (p * (r % (8 / p)))) % (1 << p);
    plane += 64 * p;
  }
  return u - (1 << (bits - 1));
}

}  // namespace

TEST_CASE("packed weights: every code stands where the header says, and comes back") {
  std::mt19937 random(7);
  for (int bits = 2; bits <= 8; ++bits) {
    for (const auto& size : {std::pair{1, 1}, {16, 32}, {17, 33}, {16, 33}, {17, 32}, {15, 31}, {37, 70}, {48, 64}, {3, 129}}) {
      const int outputs = size.first, inputs = size.second;
      CAPTURE(bits);
      CAPTURE(outputs);
      CAPTURE(inputs);
      const int half = 1 << (bits - 1);
      std::vector<int8_t> codes(size_t(outputs) * inputs), back(codes.size());
      for (auto& w : codes) w = static_cast<int8_t>(int(random() % (2 * half)) - half);
      codes.front() = static_cast<int8_t>(-half);
      codes.back() = static_cast<int8_t>(half - 1);
      std::vector<uint8_t> packed(packed_bytes(outputs, inputs, bits), 0xA5);
      REQUIRE(packed.size() == size_t((outputs + 15) / 16) * size_t((inputs + 31) / 32) * 64 * size_t(bits));
      pack_weight(codes.data(), outputs, inputs, bits, packed.data());
      int wrong = 0;
      for (int o = 0; o < (outputs + 15) / 16 * 16; ++o) {
        for (int i = 0; i < (inputs + 31) / 32 * 32; ++i) {
          const int expected = o < outputs && i < inputs ? codes[size_t(o) * inputs + i] : 0;
          wrong += read_weight(packed, inputs, bits, o, i) != expected;
        }
      }
      CHECK(wrong == 0);
      unpack_weight(packed.data(), outputs, inputs, bits, back.data());
      CHECK(back == codes);

      std::vector<int32_t> sums(outputs, -1), want(outputs, 0);
      for (size_t i = 0; i < codes.size(); ++i) want[i / inputs] += codes[i];
      sum_weight(packed.data(), outputs, inputs, bits, sums.data());
      CHECK(sums == want);
      CHECK(is_padded(packed.data(), outputs, inputs, bits));
      CHECK(has_padding(outputs, inputs) == (packed.size() != codes.size() * bits / 8));
    }
  }
}

TEST_CASE("packed weights: padding that is not zero is found") {
  for (int bits = 2; bits <= 8; ++bits)
    for (const auto& size : {std::pair{16, 33}, {17, 32}, {3, 129}}) {
      const int outputs = size.first, inputs = size.second;
      const int all_outputs = ceil_div(outputs, kBlockOutputs) * kBlockOutputs;
      const int all_inputs = ceil_div(inputs, kBlockInputs) * kBlockInputs;
      std::vector<int8_t> all(size_t(all_outputs) * all_inputs, 0);
      for (int o = 0; o < outputs; ++o)
        for (int i = 0; i < inputs; ++i) all[size_t(o) * all_inputs + i] = 1;
      std::vector<uint8_t> packed(packed_bytes(outputs, inputs, bits));
      for (const auto& place : {std::pair{all_outputs - 1, all_inputs - 1}, {outputs - 1, inputs}, {outputs, inputs - 1}}) {
        if (place.first >= all_outputs || place.second >= all_inputs) continue;
        CAPTURE(bits);
        CAPTURE(place.first);
        CAPTURE(place.second);
        std::vector<int8_t> broken = all;
        pack_weight(broken.data(), all_outputs, all_inputs, bits, packed.data());
        CHECK(is_padded(packed.data(), outputs, inputs, bits));
        broken[size_t(place.first) * all_inputs + place.second] = -1;
        pack_weight(broken.data(), all_outputs, all_inputs, bits, packed.data());
        CHECK_FALSE(is_padded(packed.data(), outputs, inputs, bits));
      }
    }
}
