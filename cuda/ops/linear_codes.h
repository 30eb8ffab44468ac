// LinearCodes (native/ops/linear.h) on a CUDA device.
#pragma once

#include <vector>

#include "cuda/ops/device.h"
#include "ops/linear.h"

namespace fewbit::cuda {

// What the kernels do with sums: whatever there is; codes by rounding or by a table, of floats without a residual; floats without
// a function. All but the first want whole groups of 32 outputs, one matrix of rows, and vectors of 8 codes or 4 floats at their
// multiples.
enum class LinearFinish : int { any = 0, codes, table, floats };

// Some of the outputs of layers that are multiplied as one.
struct LinearPart {
  int64_t y;              // bytes from y_codes.data to the first of them in the first row
  int low, high, offset;  // of their code
};

// Field by field as in LinearCodes, with device pointers.
struct LinearCodesParams {
  int rows, image_rows;
  int inputs, outputs;
  // Rows begin at multiples of 64 bytes and can be read up to inputs rounded up to 64; what stands behind `inputs` is ignored.
  Matrix<const uint8_t> x;
  // Bytes of x are x_low .. x_low + x_levels - 1, and of 16 levels at most what the correction takes off them is 128, or 0 where
  // x_low is 0. x_levels is 0 where nobody knows. 16 levels at most and 4-bit weights are multiplied as nibbles, where the device
  // can.
  int x_low, x_levels;
  const uint8_t* weight;  // as linear_codes_weight writes it, at a multiple of 256
  int weight_bits;        // 2..8
  // Outputs rounded up to 16, at multiples of 64 bytes.
  const int32_t* correction;
  const float* scale;
  const float* bias;
  bool rounds_pre_activation;
  Rounding pre_activation;
  const float* pre_activation_factors;  // or null
  Activation activation;
  const float* gain;  // or null
  // At most one of the two has data.
  Matrix<const float> residual;
  Matrix<const uint8_t> residual_codes;
  int residual_offset;
  const float* residual_scale;
  // Exactly one of the two has data; it may be the rows of the residual.
  Matrix<float> y_float;
  Matrix<uint8_t> y_codes;
  Encoder encode;
  // Layers of the same x side by side, each with so many outputs, or 0. Their targets differ in place and code: parts, in device
  // memory, has one for each; encode.inverse_steps has all outputs, and encode.table, if there is one, one table behind the
  // other.
  int part_outputs;
  const LinearPart* parts;
  // At least what linear_codes_workspace asks for.
  uint8_t* workspace;
  unsigned* counters;
  // Written by linear_codes_launch.
  LinearFinish finish;
  int weight_step;    // bytes of the weights of 64 inputs
  unsigned x_stride;  // that of x, where rows are one matrix
};

// The order of weights that the kernels read: bytes, and from the stored order (format/packed_weight.h) to it. Runs on the
// host, once, when a session is made.
//
// Slabs of 32 outputs x 64 inputs, all outputs of the first inputs first. Inside a slab weights lie as the threads of a warp hold
// them in four fragments of m16n8k32; which of the 32 outputs are in which fragment depends on what y is, so that a thread ends
// up with outputs that lie side by side. A slab has planes: of 4 bits, the low half of a byte being four inputs' weights for the
// first register of an operand and the high half those for the second, then of 1 bit; or the bytes of 8-bit weights.
//
// bits: the most of all layers; outputs: of each, whole groups of 32 where there are several.
struct LinearWeight {
  const uint8_t* packed;
  int bits;
};
size_t linear_codes_weight_bytes(int outputs, int inputs, int bits);
void linear_codes_weight(const std::vector<LinearWeight>& layers, int outputs, int inputs, bool y_is_codes, uint8_t* weight);

// Whether a layer can be one of several with the same x: its outputs are whole groups, and become codes at once.
bool linear_codes_joins(const LinearCodesParams& params);

// Pointers need not be set, but whether they are null, and their alignment, may count.
Workspace linear_codes_workspace(const LinearCodesParams& params, const Device& device);
// Fills in the last fields of params.
Launch linear_codes_launch(LinearCodesParams& params, const Device& device);

}  // namespace fewbit::cuda
