// LinearCodes on AVX-VNNI: linear_avx512.cpp with half as wide vectors and half as many registers.
//
//   vpdpbusd ymm: 32 products u8 x s8 added in fours to 8 int32, exactly. A block of 6 rows x 16 outputs keeps 12 sums in
//   registers.
#include "cpu/implementations.h"
#include "cpu/product_avx2.h"
#include "cpu/simd_avx2.h"
#include "cpu/weight_rows_avx2.h"

#include "cpu/linear_epilogue_simd.h"

#ifndef FEWBIT_AVXVNNI_NAMESPACE
#define FEWBIT_AVXVNNI_NAMESPACE fewbit
#endif

namespace FEWBIT_AVXVNNI_NAMESPACE {

void linear_codes_avxvnni(const LinearCodes& op, int task, void* scratch);

namespace {

constexpr int kRows = 6;

inline __m256i dot(__m256i sum, __m256i unsigned_bytes, __m256i signed_bytes) {
#if defined(__AVXVNNI__) || defined(_MSC_VER)
  return _mm256_dpbusd_avx_epi32(sum, unsigned_bytes, signed_bytes);
#else
  return _mm256_dpbusd_epi32(sum, unsigned_bytes, signed_bytes);  // the same with another encoding: tests run this one
#endif
}

// acc[r][0..16) = sum over quads of x times rows of weights.
template <int R>
FEWBIT_NOINLINE void multiply(const uint8_t* x, ptrdiff_t x_stride, const int8_t* w, int quads, int32_t* acc) {
  __m256i sum[R][2];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
  for (int i = 0; i < quads; ++i, x += 4, w += kRowBytes) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 32));
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const __m256i quad = broadcast_dword(x + r * x_stride);
      sum[r][0] = dot(sum[r][0], quad, low);
      sum[r][1] = dot(sum[r][1], quad, high);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(acc + r * kTileOutputs), sum[r][0]);
    _mm256_store_si256(reinterpret_cast<__m256i*>(acc + r * kTileOutputs + 8), sum[r][1]);
  }
}

using Multiply = void (*)(const uint8_t*, ptrdiff_t, const int8_t*, int, int32_t*);
constexpr Multiply kMultiply[] = {multiply<1>, multiply<2>, multiply<3>, multiply<4>, multiply<5>, multiply<6>};

}  // namespace

// Weights of 8 bits are read in place, others decoded into scratch.
void linear_codes_avxvnni(const LinearCodes& op, int task, void* scratch) {
  const Tile tile = linear_tile(op, task);
  const int panels = ceil_div(tile.output_end - tile.output_begin, kBlockOutputs);
  const ptrdiff_t packed_panel = panel_bytes(op.inputs, op.weight_bits), panel_stride = panel_bytes(op.inputs, 8);
  const uint8_t* packed = op.weight + tile.output_begin / kBlockOutputs * packed_panel;
  const int8_t* weight = reinterpret_cast<const int8_t*>(packed);
  if (op.weight_bits != 8) {
    int8_t* rows = static_cast<int8_t*>(scratch);
    decode_blocks(packed, op.weight_bits, panels * ceil_div(op.inputs, kBlockInputs), rows);
    weight = rows;
  }
  const RowEncoders encoders(op.encode);
  alignas(64) int32_t acc[kRows * kTileOutputs];
  for (int row = tile.row_begin; row < tile.row_end; row += kRows) {
    const int rows = tile.row_end - row < kRows ? tile.row_end - row : kRows;
    for (int p = 0; p < panels; ++p)
      kMultiply[rows - 1](op.x + row * op.x_stride, op.x_stride, weight + p * panel_stride, ceil_div(op.inputs, 4),
                          acc + kBlockOutputs * p);
    if (has_activation(op)) activate(op, rows, tile.output_begin, tile.output_end, acc);
    finish_panels(op, encoders, row, rows, tile.output_begin, tile.output_end, acc);
  }
}

}  // namespace FEWBIT_AVXVNNI_NAMESPACE
