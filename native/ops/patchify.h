// Patch extraction, the part of a patch embedding before its matrix product: image [channels][height][width] (float) to
// rows [patches][channels * patch_height * patch_width], patches in row-major order, as floats or as codes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/encode.h"

namespace fewbit {

struct Patchify {
  int channels, height, width;
  int patch_height, patch_width;  // height / patch_height x width / patch_width patches; a remainder is ignored
  const float* image;
  // Exactly one is set.
  float* y_float;
  ptrdiff_t y_float_stride;
  uint8_t* y_codes;
  ptrdiff_t y_codes_stride;
  Encoder encode;
};

// A task is one row of patches.
static constexpr int patchify_tasks(int height, int patch_height) { return height / patch_height; }

void patchify_reference(const Patchify& op);

}  // namespace fewbit
