// Patchify (native/ops/patchify.h) on a CUDA device.
#pragma once

#include "cuda/ops/device.h"
#include "ops/patchify.h"

namespace fewbit::cuda {

// Field by field as in Patchify, for all images of a pass.
struct PatchifyParams {
  int images, channels, height, width, patch_height, patch_width;
  const float* image;
  int64_t image_stride;  // floats
  // Exactly one has data; rows are patches.
  Matrix<float> y_float;
  Matrix<uint8_t> y_codes;
  Encoder encode;
};

// A block has a row of patches of an image.
constexpr int kPatchifyThreads = 256;

// Elements from patch to patch in shared memory, where rows of a patch (patch_width elements of `bytes` each) follow each other:
// of consecutive patches the same row lies in consecutive banks. Where rows of bytes end inside of a bank, the next patch begins
// behind it.
FEWBIT_HOST_DEVICE constexpr int patchify_pitch(int columns, int patch_width, int bytes) {
  const int bank = 4 / bytes * 32;  // elements of all banks
  const int gap = bytes == 1 && patch_width % 4 ? 3 : 0;
  const int wanted = (patch_width + gap) % bank, rest = columns % bank;
  return columns + (wanted - rest + bank) % bank;
}

Launch patchify_launch(const PatchifyParams& params, const Device& device);

}  // namespace fewbit::cuda
