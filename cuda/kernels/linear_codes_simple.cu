// The linear layer on codes for any shape: four products at a time (DP4A), weights decoded where they lie. A thread has one
// output and four rows.
#include "cuda/kernels/linear_epilogue.cuh"
#include "cuda/ops/linear_codes.h"

namespace fewbit::cuda {
namespace {

// sum + the dot product of four unsigned and four signed bytes.
__device__ int dot4(uint32_t unsigned_bytes, uint32_t signed_bytes, int sum) {
  int result;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(unsigned_bytes), "r"(signed_bytes), "r"(sum));
  return result;
}

// Four inputs (row r of a block, format/packed_weight.h) of output n, as signed bytes.
__device__ uint32_t weight_word(const uint8_t* block, int bits, int r, int n) {
  const auto word = [&](int row) { return reinterpret_cast<const uint32_t*>(block + kRowBytes * row)[n]; };
  if (bits == 8) return word(r);
  uint32_t u = 0;
  for (int p = 4; p; p /= 2) {
    if (!(bits & p)) continue;
    const int per_byte = 8 / p;
    const uint32_t mask = 0x01010101u * ((1u << p) - 1);
    u = u << p | (word(r / per_byte) >> (p * (r % per_byte)) & mask);
    block += kRowBytes * p;
  }
  // u - 2^(bits - 1) in each byte, without a borrow between bytes.
  return ((u | 0x80808080u) - (0x01010101u << (bits - 1))) ^ 0x80808080u;
}

constexpr int kRows = 4;

}  // namespace
}  // namespace fewbit::cuda

extern "C" __global__ void __launch_bounds__(128) fewbit_linear_codes_simple(const fewbit::cuda::LinearCodesParams p) {
  using namespace fewbit::cuda;
  using namespace fewbit;
  const int row_tiles = (p.rows + 8 * kRows - 1) / (8 * kRows);
  const int panel = blockIdx.x / row_tiles;
  const int first = blockIdx.x % row_tiles * 8 * kRows + threadIdx.y;
  const int n = threadIdx.x, output = 16 * panel + n;
  const int blocks = (p.inputs + kBlockInputs - 1) / kBlockInputs;
  const size_t step = block_bytes(p.weight_bits);
  const uint8_t* weight = p.weight + panel * (blocks * step);
  const uint32_t* x[kRows];
  int acc[kRows] = {};
  for (int i = 0; i < kRows; ++i) {
    const int r = first + 8 * i;
    x[i] = reinterpret_cast<const uint32_t*>(row_of(p.x, r < p.rows ? r : p.rows - 1, p.image_rows));
  }
  const int words = (p.inputs + 3) / 4;  // the weights behind the inputs are zeros
  for (int k = 0; k < words; ++k) {
    const uint32_t w = weight_word(weight + k / kBlockRows * step, p.weight_bits, k % kBlockRows, n);
#pragma unroll
    for (int i = 0; i < kRows; ++i) acc[i] = dot4(x[i][k], w, acc[i]);
  }
  if (output >= p.outputs) return;
#pragma unroll
  for (int i = 0; i < kRows; ++i)
    if (first + 8 * i < p.rows) finish_linear(p, first + 8 * i, output, acc[i]);
}
