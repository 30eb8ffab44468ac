// Image rows are read once from left to right. Include simd_avx512.h or simd_avx2.h first, and define encode64().
#pragma once

#include <cstring>

#include "ops/patchify.h"

namespace fewbit {
namespace {

constexpr int kPixels = 64;
// How far ahead pixels are fetched, four rows of 224: prefetchers of the processor stop at the end of each page, and begin slowly
// in the next.
constexpr int kAheadBytes = 4096;

inline void fetch_ahead(const float* x) {
  for (size_t line = 0; line < kPixels * sizeof(float); line += 64)
    _mm_prefetch(reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(x) + kAheadBytes + line), _MM_HINT_T0);
}

// The bytes of as many patches as have kPixels pixels in a row, to the rows of those patches.
template <int kWidth>
inline void deal(const uint8_t* bytes, uint8_t* y, ptrdiff_t stride) {
  for (int i = 0; i < kPixels; i += kWidth, y += stride) std::memcpy(y, bytes + i, kWidth);
}

// A row of an image, `across` patches of kWidth pixels, kPixels at a time; the last ones again where they do not divide the row.
template <int kWidth>
inline void encode_row(const EncoderF32x16& encode, const float* x, int across, uint8_t* y, ptrdiff_t stride) {
  const int pixels = across * kWidth;
  for (int i = 0; i < pixels; i += kPixels) {
    const int begin = i + kPixels <= pixels ? i : pixels - kPixels;
    alignas(64) uint8_t bytes[kPixels];
    fetch_ahead(x + begin);
    encode64(encode, x + begin, bytes);
    deal<kWidth>(bytes, y + begin / kWidth * stride, stride);
  }
}

// The same for any patches, to floats or codes, in pieces of 16 pixels of one patch.
inline void copy_row(const Patchify& op, const EncoderF32x16& encode, const float* x, int across, ptrdiff_t row, int column) {
  for (int p = 0; p < across; ++p, ++row, x += op.patch_width)
    for (int dx = 0; dx < op.patch_width; dx += 16) {
      const Lanes lanes(op.patch_width - dx);
      const F32x16 v = load(x + dx, lanes);
      if (op.y_float)
        store(op.y_float + row * op.y_float_stride + column + dx, lanes, v);
      else
        store(op.y_codes + row * op.y_codes_stride + column + dx, lanes, encode(v));
    }
}

inline void patchify(const Patchify& op, int task) {
  const int across = op.width / op.patch_width;
  const ptrdiff_t first = ptrdiff_t(task) * across;
  const bool whole = op.y_codes && across * op.patch_width >= kPixels;
  const EncoderF32x16 encode(op.encode);
  for (int c = 0; c < op.channels; ++c)
    for (int dy = 0; dy < op.patch_height; ++dy) {
      const float* x = op.image + (ptrdiff_t(c) * op.height + task * op.patch_height + dy) * op.width;
      const int column = (c * op.patch_height + dy) * op.patch_width;
      uint8_t* y = whole ? op.y_codes + first * op.y_codes_stride + column : nullptr;
      if (whole && op.patch_width == 4)
        encode_row<4>(encode, x, across, y, op.y_codes_stride);
      else if (whole && op.patch_width == 8)
        encode_row<8>(encode, x, across, y, op.y_codes_stride);
      else if (whole && op.patch_width == 16)
        encode_row<16>(encode, x, across, y, op.y_codes_stride);
      else if (whole && op.patch_width == 32)
        encode_row<32>(encode, x, across, y, op.y_codes_stride);
      else
        copy_row(op, encode, x, across, first, column);
    }
}

}  // namespace
}  // namespace fewbit
