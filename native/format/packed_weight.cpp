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

bool sum_weight(const uint8_t* packed, int outputs, int inputs, int bits, int32_t* sums) {
  int8_t row[kRowBytes];
  for (int o = 0; o < outputs; o += kBlockOutputs) {
    const int existing = outputs - o < kBlockOutputs ? outputs - o : kBlockOutputs;
    int32_t lanes[kRowBytes] = {};  // of byte i of all rows
    for (int i = 0; i < inputs; i += kBlockInputs, packed += block_bytes(bits))
      for (int r = 0; r < kBlockRows; ++r) {
        unpack_row(packed, bits, r, row);
        for (int j = 0; j < kRowBytes; ++j) lanes[j] += row[j];
        const int first = i + 4 * r;  // the inputs of this row
        if (existing == kBlockOutputs && first + 4 <= inputs) continue;
        for (int j = 0; j < kRowBytes; ++j)
          if ((j / 4 >= existing || first + j % 4 >= inputs) && row[j] != 0) return false;
      }
    for (int n = 0; n < existing; ++n) sums[o + n] = lanes[4 * n] + lanes[4 * n + 1] + lanes[4 * n + 2] + lanes[4 * n + 3];
  }
  return true;
}

}  // namespace fewbit
