// GroupCodes (native/ops/group_codes.h) on a CUDA device.
#pragma once

#include "cuda/ops/device.h"
#include "ops/group_codes.h"

namespace fewbit::cuda {

// Field by field as in GroupCodes. codes: rows are pixels. group: device memory. packed: at a multiple of 16 bytes.
struct GroupCodesParams {
  int images, pixels, groups;
  const CodeGroup* group;
  Matrix<uint8_t> codes;
  uint8_t* packed;
  int64_t image_bytes;
};

// A block has so many values of a group of an image, and threads.
constexpr int kGroupValues = 4096;
constexpr int kGroupThreads = 128;

// most: the channels of the largest group. Groups of which every count and first channel is a multiple of four are copied in
// words where codes lie at multiples of four, too.
Launch pack_groups_launch(const GroupCodesParams& params, int most, const Device& device);
Launch unpack_groups_launch(const GroupCodesParams& params, int most, const Device& device);

}  // namespace fewbit::cuda
