// Codes of an activation in few bits: channels lie in groups, and each group has a width of its own (mixed precision).
#pragma once

#include <cstddef>
#include <cstdint>

namespace fewbit {

// Channels [first, first + count) have codes of `bits` bits.
struct CodeGroup {
  int first, count;  // count >= 1
  int bits;          // 1..8
  int64_t offset;    // bytes from the beginning of an image to its values; a multiple of 16
};

// Codes u in [0, 2^bits) as bytes [pixel][channel] of each image, and packed. In the packed form the values of a group follow
// each other, pixel after pixel, channel after channel: value i of an image has the bits [i * bits, (i + 1) * bits) of what lies
// at packed + image * image_bytes + offset, the least significant bit of a byte first. What is left of the last 16 bytes is zero.
// Channels in no group are dropped: packing skips them, unpacking leaves them as they are.
struct GroupCodes {
  int images, pixels, groups;
  const CodeGroup* group;  // [groups]; channels and packed bytes of different groups are disjoint
  uint8_t* codes;
  ptrdiff_t stride, image_stride;  // bytes, from pixel to pixel and from image to image
  uint8_t* packed;
  ptrdiff_t image_bytes;  // a multiple of 16
};

// Bytes of a group of one image.
static constexpr int64_t group_bytes(int64_t pixels, int count, int bits) { return (pixels * count * bits + 127) / 128 * 16; }

// Of every code the low bits are packed.
void pack_groups_reference(const GroupCodes& op);
void unpack_groups_reference(const GroupCodes& op);

}  // namespace fewbit
