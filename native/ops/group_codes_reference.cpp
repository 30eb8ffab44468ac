#include "ops/group_codes.h"

#include <cstring>

namespace fewbit {
namespace {

// fn(code, packed bytes of its group, index of its first bit, bits) for every code of every group.
template <class Fn>
void for_each_code(const GroupCodes& op, Fn fn) {
  for (int image = 0; image < op.images; ++image)
    for (int g = 0; g < op.groups; ++g) {
      const CodeGroup& group = op.group[g];
      uint8_t* packed = op.packed + image * op.image_bytes + group.offset;
      int64_t bit = 0;
      for (int pixel = 0; pixel < op.pixels; ++pixel)
        for (int c = 0; c < group.count; ++c, bit += group.bits)
          fn(op.codes[image * op.image_stride + pixel * op.stride + group.first + c], packed, bit, group.bits);
    }
}

}  // namespace

void pack_groups_reference(const GroupCodes& op) {
  for (int image = 0; image < op.images; ++image)
    for (int g = 0; g < op.groups; ++g) {
      const CodeGroup& group = op.group[g];
      std::memset(op.packed + image * op.image_bytes + group.offset, 0, group_bytes(op.pixels, group.count, group.bits));
    }
  for_each_code(op, [](uint8_t code, uint8_t* packed, int64_t first, int bits) {
    for (int i = 0; i < bits; ++i) packed[(first + i) / 8] |= static_cast<uint8_t>((code >> i & 1) << ((first + i) % 8));
  });
}

void unpack_groups_reference(const GroupCodes& op) {
  for_each_code(op, [](uint8_t& code, const uint8_t* packed, int64_t first, int bits) {
    code = 0;
    for (int i = 0; i < bits; ++i) code |= static_cast<uint8_t>((packed[(first + i) / 8] >> ((first + i) % 8) & 1) << i);
  });
}

}  // namespace fewbit
