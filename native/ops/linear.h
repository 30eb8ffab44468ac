// Linear layer: y = act(x W^T + b) + residual, on codes (int8) and on floats.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format/packed_weight.h"
#include "ops/encode.h"

namespace fewbit {

enum class Activation : int { none = 0, gelu = 1 };

// Quantized. For row t and output o, all in this order, in float32 with the roundings written here:
//   acc = sum_i x[t][i] * w[o][i] + correction[o]          exact int32
//   y   = fma(float(acc), scale[o], bias[o])
//   y   = round_to(pre_activation, y / f) * f               when pre_activation is given (ops/numeric.h), with f = 1 or
//                                                           pre_activation_factors[o], a power of two, so / f is exact
//                                                           (factors are 2^-20..2^20 and steps with factors 1e-36..1e30,
//                                                           so that steps times f give the same bits)
//   y   = activation(y)                                     (ops/numeric.h)
//   y   = y * gain[o]                                       when gain is given
//   y   = y + residual[t][o]                                when residual is given
//   y   = fma(float(residual_codes[t][o] - residual_offset), residual_scale[o], y)   when residual_codes is given
// and y is stored as float, or as encode(y, o).
struct LinearCodes {
  int rows, inputs, outputs;

  // Bytes level + offset. Each row can be read up to inputs rounded up to 64; what stands behind `inputs` is ignored.
  const uint8_t* x;
  ptrdiff_t x_stride;  // bytes; a multiple of 64 and x is 64-byte aligned

  const uint8_t* weight;  // packed_weight.h
  int weight_bits;        // 2..8

  // All three [outputs rounded up to 16].
  const int32_t* correction;  // -offset of x * sum_i w[o][i]
  const float* scale;         // step of x * step of row o
  const float* bias;

  const Rounding* pre_activation;       // or null
  const float* pre_activation_factors;  // powers of two, [outputs rounded up to 16], or null
  Activation activation;
  const float* gain;  // [outputs rounded up to 16], or null

  // At most one of the two is set.
  const float* residual;
  ptrdiff_t residual_stride;  // floats
  const uint8_t* residual_codes;
  ptrdiff_t residual_codes_stride;  // bytes
  int residual_offset;              // 0 or 128
  const float* residual_scale;      // step of each column, [outputs rounded up to 16]

  // Exactly one of the two is set. residual and y_float may be the same rows, and so may residual_codes and y_codes.
  float* y_float;
  ptrdiff_t y_float_stride;  // floats
  uint8_t* y_codes;
  ptrdiff_t y_codes_stride;  // bytes
  Encoder encode;            // used with y_codes

  int row_groups;  // see linear_tile
};

// Float. weight: [outputs rounded up to 16, / 16][inputs][16], zero padded. Accumulation order is free.
struct LinearF32 {
  int rows, inputs, outputs;
  const float* x;
  ptrdiff_t x_stride;  // floats
  const float* weight;
  const float* bias;  // [outputs rounded up to 16]
  Activation activation;
  const float* gain;  // [outputs rounded up to 16], or null
  const float* residual;
  ptrdiff_t residual_stride;
  float* y;
  ptrdiff_t y_stride;
  int row_groups;  // see linear_tile
};

// Work is cut into tiles of kTileRows x kTileOutputs; a task is one tile, and tasks may run at the same time.
constexpr int kTileRows = 112;
constexpr int kTileOutputs = 64;

struct Tile {
  int row_begin, row_end, output_begin, output_end;
};

static constexpr int linear_tasks(int rows, int outputs) { return ceil_div(rows, kTileRows) * ceil_div(outputs, kTileOutputs); }

// Of x, so much that it comes from far each time that all of it is read.
constexpr ptrdiff_t kFarBytes = 1 << 20;

// Rows come in `row_groups` groups one after the other (0 is 1), so that threads that take a part of the tasks each have rows
// of their own, or nearly. In a group neighbours share a panel of weights and take all its rows in turn. Where that would fetch a
// large x for every panel, and the weights are fewer, groups are as small as can be: neighbours share rows.
template <class Op>
static constexpr Tile linear_tile(const Op& op, int task) {
  const int row_tiles = ceil_div(op.rows, kTileRows), output_tiles = ceil_div(op.outputs, kTileOutputs);
  const ptrdiff_t x_bytes = op.rows * op.x_stride * ptrdiff_t(sizeof *op.x);
  const bool share_rows = op.rows > op.outputs && x_bytes > kFarBytes;
  const int64_t groups = share_rows || op.row_groups > row_tiles ? row_tiles : op.row_groups > 1 ? op.row_groups : 1;
  // Group g has the tiles of rows from g * row_tiles / groups on, each with all outputs.
  const int64_t group = ((task / output_tiles + 1) * groups - 1) / row_tiles;
  const int first = static_cast<int>(group * row_tiles / groups);
  const int tiles = static_cast<int>((group + 1) * row_tiles / groups) - first;
  const int row = (first + (task - first * output_tiles) % tiles) * kTileRows;
  const int output = (task - first * output_tiles) / tiles * kTileOutputs;
  return {row, row + kTileRows < op.rows ? row + kTileRows : op.rows, output,
          output + kTileOutputs < op.outputs ? output + kTileOutputs : op.outputs};
}

// Scratch a thread needs, 64-byte aligned; the most that a path asks for. AVX2: the weights of a tile and six rows of x in 16
// bits. AMX: the decoded weights of a tile, inputs rounded up to 64, and its int32 accumulators.
static constexpr size_t linear_codes_scratch(int inputs) {
  return size_t(ceil_div(inputs, 64)) * 64 * 2 * (kTileOutputs + 6) + size_t(kTileRows) * kTileOutputs * 4;
}

void linear_codes_reference(const LinearCodes& op);
void linear_f32_reference(const LinearF32& op);

}  // namespace fewbit
