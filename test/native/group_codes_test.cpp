// Codes of groups: packed to the bits that the contract says, and back.
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <vector>

#include "ops/group_codes.h"

using namespace fewbit;

TEST_CASE("values lie in a stream of bits, the least significant first, padded to 16 bytes") {
  // Two pixels of channels 0 1 2 | 3: 3 bits and 5 bits.
  std::vector<uint8_t> codes = {1, 2, 7, 9, 4, 0, 5, 0x1F}, packed(32, 0xFF);
  const CodeGroup groups[] = {{0, 3, 3, 0}, {3, 1, 5, 16}};
  const GroupCodes op = {1, 2, 2, groups, codes.data(), 4, 8, packed.data(), 32};
  pack_groups_reference(op);
  // 1 | 2 << 3 | 7 << 6 | 4 << 9 | 0 << 12 | 5 << 15 and 9 | 31 << 5
  const uint32_t first = 0x289D1, second = 0x3E9;
  uint8_t want[32] = {};
  std::memcpy(want, &first, 4), std::memcpy(want + 16, &second, 4);
  CHECK(std::memcmp(packed.data(), want, 32) == 0);
  std::fill(codes.begin(), codes.end(), 0);
  unpack_groups_reference(op);
  CHECK(codes == std::vector<uint8_t>{1, 2, 7, 9, 4, 0, 5, 0x1F});
}

TEST_CASE("unpacking is the inverse of packing, and leaves channels without a group alone") {
  std::mt19937 random(1);
  for (int bits = 1; bits <= 8; ++bits)
    for (int count : {1, 3, 8})
      for (int pixels : {1, 5, 64}) {
        const CodeGroup group{2, count, bits, 16};
        const int stride = count + 3, images = 2;
        const int64_t bytes = 16 + group_bytes(pixels, count, bits);
        std::vector<uint8_t> codes(images * pixels * stride), packed(images * bytes);
        for (uint8_t& code : codes) code = static_cast<uint8_t>(random() & ((1 << bits) - 1));
        GroupCodes op = {images, pixels, 1, &group, codes.data(), stride, pixels * stride, packed.data(), bytes};
        pack_groups_reference(op);
        std::vector<uint8_t> found(codes.size(), 0xEE);
        op.codes = found.data();
        unpack_groups_reference(op);
        int wrong = 0;
        for (size_t i = 0; i < codes.size(); ++i) {
          const int channel = int(i) % stride;
          wrong += found[i] != (channel < 2 || channel >= 2 + count ? 0xEE : codes[i]);
        }
        CHECK(wrong == 0);
      }
}
