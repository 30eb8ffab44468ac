// The one stored order of quantized weights, read in place by every device and instruction set.
//
// A weight W [outputs x inputs] of signed codes w in [-2^(k-1), 2^(k-1) - 1], k = 2..8, is cut into blocks of
// 16 outputs x 32 inputs. Blocks of the same 16 outputs follow each other along the inputs; outputs and inputs are
// padded with zeros (w = 0) to whole blocks. Inside a block, a *row* r = 0..7 holds four consecutive inputs of all
// 16 outputs, which is what VPDPBUSD and a row of an AMX B tile consume:
//
//   byte 4 n + j of row r   =   W[16 b + n][32 c + 4 r + j]        n = 0..15, j = 0..3, 64 bytes a row
//
// k = 8 stores these bytes as they are: 512 bytes a block, two consecutive blocks are one 16 x 64-byte AMX tile.
// k < 8 stores u = w + 2^(k-1) >= 0 as planes of 4, 2 and 1 bits, the widest (most significant) first:
//
//   k = 7: 4 2 1    6: 4 2    5: 4 1    4: 4    3: 2 1    2: 2
//
// A plane of p bits is 8 p / 8 vectors of 64 bytes; row r lies in vector r / (8 / p) at bit p * (r % (8 / p)) of each
// byte. So decoding a row is a load, a shift and a mask a plane, for any vector width.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fewbit {

constexpr int kBlockOutputs = 16;
constexpr int kBlockInputs = 32;
constexpr int kBlockRows = kBlockInputs / 4;  // rows of 64 bytes
constexpr int kRowBytes = 4 * kBlockOutputs;
static_assert(kRowBytes == 64, "a row is one cache line and one 512-bit vector");

// Functions in headers have internal linkage: files are compiled for different instruction sets, and the linker must not
// choose the AVX-512 copy of one for everybody.
static constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Bytes of one block at k bits: 64 k.
static constexpr size_t block_bytes(int bits) { return size_t(kBlockOutputs) * kBlockInputs * bits / 8; }

// Bytes of the 16 outputs that share a block column.
static constexpr size_t panel_bytes(int inputs, int bits) { return ceil_div(inputs, kBlockInputs) * block_bytes(bits); }

static constexpr size_t packed_bytes(int outputs, int inputs, int bits) {
  return ceil_div(outputs, kBlockOutputs) * panel_bytes(inputs, bits);
}

// codes: [outputs x inputs] row major, each in [-2^(bits-1), 2^(bits-1) - 1]. packed: packed_bytes() bytes.
void pack_weight(const int8_t* codes, int outputs, int inputs, int bits, uint8_t* packed);

// The inverse of pack_weight, without the padding.
void unpack_weight(const uint8_t* packed, int outputs, int inputs, int bits, int8_t* codes);

// sums[o] = sum over the inputs of row o, [outputs].
void sum_weight(const uint8_t* packed, int outputs, int inputs, int bits, int32_t* sums);

// Whether there is any: blocks reach beyond the outputs or the inputs.
static constexpr bool has_padding(int outputs, int inputs) { return outputs % kBlockOutputs || inputs % kBlockInputs; }

// Whether the padding is zero, on which kernels count. Reads the blocks that have some and no others.
bool is_padded(const uint8_t* packed, int outputs, int inputs, int bits);

// One row (r above) of one block: 64 codes, byte 4 n + j as above.
void unpack_row(const uint8_t* block, int bits, int row, int8_t* codes);

}  // namespace fewbit
