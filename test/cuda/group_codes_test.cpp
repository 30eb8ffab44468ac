// Packing codes of groups on the device and back, against the reference.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "cuda/ops/group_codes.h"
#include "targets.h"

using namespace fewbit;
using namespace fewbit::cuda;

namespace {

struct Width {
  int count, bits;
};

// Groups side by side, with `gap` channels that are dropped before each.
std::vector<CodeGroup> groups_of(const std::vector<Width>& widths, int gap, int pixels, int* channels, int64_t* image_bytes) {
  std::vector<CodeGroup> groups;
  *channels = 0, *image_bytes = 0;
  for (const Width& width : widths) {
    *channels += gap;
    groups.push_back({*channels, width.count, width.bits, *image_bytes});
    *channels += width.count;
    *image_bytes += group_bytes(pixels, width.count, width.bits) + 16;
  }
  return groups;
}

bool equal(const std::vector<Width>& widths, int gap, int images, int pixels) {
  std::mt19937 random(pixels);
  int channels, most = 0;
  int64_t image_bytes;
  const std::vector<CodeGroup> groups = groups_of(widths, gap, pixels, &channels, &image_bytes);
  for (const CodeGroup& group : groups) most = std::max(most, group.count);
  const Layout layout{images, pixels, channels, gap};
  Aligned<uint8_t> codes = random_bytes(layout.count(), random);
  Aligned<uint8_t> want(images * image_bytes), got(images * image_bytes);
  GroupCodes op = {images,       pixels,          int(groups.size()),    groups.data(),
                   codes.data(), layout.stride(), layout.image_stride(), want.data(),
                   image_bytes};
  pack_groups_reference(op);

  Mirror mirror;
  GroupCodesParams p{
      images,         pixels,     int(groups.size()), mirror.up(groups.data(), groups.size()), layout.matrix(mirror.up(codes)),
      mirror.up(got), image_bytes};
  run(p, pack_groups_launch(p, most, device()));
  mirror.down(got.data());
  if (!std::equal(want.data(), want.data() + want.size(), got.data())) return false;

  Guarded<uint8_t> unpacked_want(layout.count()), unpacked_got(layout.count());
  op.codes = unpacked_want.data();
  unpack_groups_reference(op);
  p.codes = layout.matrix(mirror.up(unpacked_got));
  run(p, unpack_groups_launch(p, most, device()));
  mirror.down(unpacked_got);
  return unpacked_want.bytes() == unpacked_got.bytes();
}

}  // namespace

TEST_CASE("codes of groups are packed and unpacked as the reference does") {
  for (int bits = 1; bits <= 8; ++bits)
    for (int count : {1, 3, 4, 16, 33})
      for (int pixels : {1, 7, 64, 300})
        for (int gap : {0, 1, 4}) {
          INFO(count, " channels of ", bits, " bits, ", pixels, " pixels, gap ", gap);
          CHECK(equal({{count, bits}}, gap, 1 + pixels % 2, pixels));
        }
}

TEST_CASE("groups of an image have widths of their own") {
  CHECK(equal({{64, 8}, {16, 5}, {4, 1}, {40, 3}}, 0, 3, 196));
  CHECK(equal({{1, 1}, {2, 2}, {3, 3}, {5, 7}, {64, 4}}, 3, 2, 65));
  CHECK(equal({{1, 1}, {200, 6}}, 0, 2, 49));
}
