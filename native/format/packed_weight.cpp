#include "format/packed_weight.h"

#include <cstring>

namespace fewbit {
namespace {

// Writes u at its place in all planes of a block; the block was zeroed.
void put_code(uint8_t* block, int bits, int row, int byte, unsigned u) {
  int left = bits;  // bits of u that are not stored yet
  for (int p = 4; p; p /= 2) {
    if (!(bits & p)) continue;
    left -= p;
    const int per_byte = 8 / p;
    const unsigned part = (u >> left) & ((1u << p) - 1);
    block[kRowBytes * (row / per_byte) + byte] |= static_cast<uint8_t>(part << (p * (row % per_byte)));
    block += kRowBytes * p;
  }
}

}  // namespace

void unpack_row(const uint8_t* block, int bits, int row, int8_t* codes) {
  if (bits == 8) {
    std::memcpy(codes, block + kRowBytes * row, kRowBytes);
    return;
  }
  uint8_t u[kRowBytes] = {};
  for (int p = 4; p; p /= 2) {
    if (!(bits & p)) continue;
    const int per_byte = 8 / p;
    const uint8_t* plane = block + kRowBytes * (row / per_byte);
    const int shift = p * (row % per_byte);
    const int mask = (1 << p) - 1;
    for (int i = 0; i < kRowBytes; ++i) u[i] = static_cast<uint8_t>(u[i] << p | (plane[i] >> shift & mask));
    block += kRowBytes * p;
  }
  for (int i = 0; i < kRowBytes; ++i) codes[i] = static_cast<int8_t>(u[i] - (1 << (bits - 1)));
}

void pack_weight(const int8_t* codes, int outputs, int inputs, int bits, uint8_t* packed) {
  std::memset(packed, 0, packed_bytes(outputs, inputs, bits));
  for (int b = 0; b < ceil_div(outputs, kBlockOutputs); ++b) {
    for (int c = 0; c < ceil_div(inputs, kBlockInputs); ++c, packed += block_bytes(bits)) {
      for (int r = 0; r < kBlockRows; ++r) {
        for (int i = 0; i < kRowBytes; ++i) {
          const int output = kBlockOutputs * b + i / 4;
          const int input = kBlockInputs * c + 4 * r + i % 4;
          const int w = output < outputs && input < inputs ? codes[size_t(output) * inputs + input] : 0;
          if (bits == 8)
            packed[kRowBytes * r + i] = static_cast<uint8_t>(w);
          else
            put_code(packed, bits, r, i, static_cast<unsigned>(w + (1 << (bits - 1))));
        }
      }
    }
  }
}

void unpack_weight(const uint8_t* packed, int outputs, int inputs, int bits, int8_t* codes) {
  int8_t row[kRowBytes];
  for (int b = 0; b < ceil_div(outputs, kBlockOutputs); ++b) {
    for (int c = 0; c < ceil_div(inputs, kBlockInputs); ++c, packed += block_bytes(bits)) {
      for (int r = 0; r < kBlockRows; ++r) {
        unpack_row(packed, bits, r, row);
        for (int i = 0; i < kRowBytes; ++i) {
          const int output = kBlockOutputs * b + i / 4;
          const int input = kBlockInputs * c + 4 * r + i % 4;
          if (output < outputs && input < inputs) codes[size_t(output) * inputs + input] = row[i];
        }
      }
    }
  }
}

namespace {

// Adds to lanes[i] what byte i of a plane holds for all rows, shifted to its place in the code. Eight parts of 4 bits fit a byte.
template <int p>
void add_plane(const uint8_t* plane, int place, int32_t* lanes) {
  uint8_t sums[kRowBytes] = {};
  for (int v = 0; v < p; ++v, plane += kRowBytes)
#pragma GCC unroll 8  // constant shifts are what gcc vectorises
    for (int shift = 0; shift < 8; shift += p)
      for (int i = 0; i < kRowBytes; ++i) sums[i] = static_cast<uint8_t>(sums[i] + (plane[i] >> shift & ((1 << p) - 1)));
  for (int i = 0; i < kRowBytes; ++i) lanes[i] += sums[i] << place;
}

// Adds to lanes[i] the sum over the rows of a block of byte i.
void add_block(const uint8_t* block, int bits, int32_t* lanes) {
  if (bits == 8) {
    int16_t sums[kRowBytes] = {};
    for (int r = 0; r < kBlockRows; ++r, block += kRowBytes)
      for (int i = 0; i < kRowBytes; ++i) sums[i] = static_cast<int16_t>(sums[i] + static_cast<int8_t>(block[i]));
    for (int i = 0; i < kRowBytes; ++i) lanes[i] += sums[i];
    return;
  }
  if (bits & 4) add_plane<4>(block, bits & 3, lanes);
  if (bits & 2) add_plane<2>(block + kRowBytes * (bits & 4), bits & 1, lanes);
  if (bits & 1) add_plane<1>(block + kRowBytes * (bits & 6), 0, lanes);
  for (int i = 0; i < kRowBytes; ++i) lanes[i] -= kBlockRows << (bits - 1);
}

// Whether all is zero in a block but the first outputs and inputs.
bool padded(const uint8_t* block, int bits, int outputs, int inputs) {
  int8_t row[kRowBytes];
  for (int r = 0; r < kBlockRows; ++r) {
    unpack_row(block, bits, r, row);
    for (int i = 0; i < kRowBytes; ++i)
      if ((i / 4 >= outputs || 4 * r + i % 4 >= inputs) && row[i] != 0) return false;
  }
  return true;
}

}  // namespace

void sum_weight(const uint8_t* packed, int outputs, int inputs, int bits, int32_t* sums) {
  for (int o = 0; o < outputs; o += kBlockOutputs) {
    int32_t lanes[kRowBytes] = {};
    for (int i = 0; i < inputs; i += kBlockInputs, packed += block_bytes(bits)) add_block(packed, bits, lanes);
    for (int n = 0; n < kBlockOutputs && o + n < outputs; ++n)
      sums[o + n] = lanes[4 * n] + lanes[4 * n + 1] + lanes[4 * n + 2] + lanes[4 * n + 3];
  }
}

bool is_padded(const uint8_t* packed, int outputs, int inputs, int bits) {
  const int rest = inputs % kBlockInputs;
  for (int o = 0; o < outputs; o += kBlockOutputs, packed += panel_bytes(inputs, bits)) {
    const bool whole = outputs - o >= kBlockOutputs;
    for (int i = whole ? inputs - rest : 0; i < inputs; i += kBlockInputs)
      if (!padded(packed + i / kBlockInputs * block_bytes(bits), bits, outputs - o, inputs - i)) return false;
  }
  return true;
}

}  // namespace fewbit
