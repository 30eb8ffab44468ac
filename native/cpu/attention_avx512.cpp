// AttentionCodes on AVX-512 VNNI.
//
//   vpdpbusd zmm: 16 x 4 products a cycle (Zen 4: 2 x 256 bits). A block of 6 rows x 4 vectors keeps 24 sums in registers and
//   reads 4 vectors and 6 broadcasts for 24 products, so loads (one 512-bit load a cycle) are not the limit.
//
// Six queries at a time go through scores, softmax and output: at 197 tokens their scores are 5 KB and stay in L1 together
// with K and V of the head (13 KB each).
#include "cpu/attention_parts_avx512.h"
#include "cpu/implementations.h"

namespace fewbit {
namespace {

constexpr int kRows = 6;

// y[r][0..16 kVectors) = sum over steps of the quad x[r][4 step..] times the quads b[step][..]. The signed operand of
// vpdpbusd is x or b. Every loop over the sums is unrolled: gcc 12 keeps them in memory otherwise.
template <bool kSignedX, int kVectors>
FEWBIT_NOINLINE void multiply(const uint8_t* x, ptrdiff_t x_stride, const uint8_t* b, ptrdiff_t b_stride, int steps, int32_t* y,
                              ptrdiff_t y_stride) {
  __m512i sums[kRows][kVectors];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) sums[r][n] = _mm512_setzero_si512();
  for (int step = 0; step < steps; ++step, x += 4, b += b_stride) {
    __m512i columns[kVectors];
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) columns[n] = _mm512_load_si512(b + 64 * n);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      int32_t quad;
      std::memcpy(&quad, x + r * x_stride, 4);
      const __m512i row = _mm512_set1_epi32(quad);
#pragma GCC unroll 4
      for (int n = 0; n < kVectors; ++n)
        sums[r][n] =
            kSignedX ? _mm512_dpbusd_epi32(sums[r][n], columns[n], row) : _mm512_dpbusd_epi32(sums[r][n], row, columns[n]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) _mm512_store_si512(y + r * y_stride + 16 * n, sums[r][n]);
}

// All columns, in multiples of 16; b has 4 bytes a column.
template <bool kSignedX>
void multiply(const uint8_t* x, ptrdiff_t x_stride, const uint8_t* b, int columns, int steps, int32_t* y) {
  const ptrdiff_t b_stride = 4 * ptrdiff_t(columns);
  int n = 0;
  for (; n + 64 <= columns; n += 64) multiply<kSignedX, 4>(x, x_stride, b + 4 * n, b_stride, steps, y + n, columns);
  switch ((columns - n) / 16) {
    case 3:
      multiply<kSignedX, 3>(x, x_stride, b + 4 * n, b_stride, steps, y + n, columns);
      break;
    case 2:
      multiply<kSignedX, 2>(x, x_stride, b + 4 * n, b_stride, steps, y + n, columns);
      break;
    case 1:
      multiply<kSignedX, 1>(x, x_stride, b + 4 * n, b_stride, steps, y + n, columns);
      break;
  }
}

}  // namespace

void attention_codes_avx512(const AttentionCodes& op, int task, void* scratch) {
  const AttentionTask a(op, task, kRows, 16, 16, scratch);
  Encoder code_p = op.encode_p;
  code_p.inverse_step = a.p_inverse_step;
  const RowEncoders encoders_p(code_p), encoders(op.encode);
  pack_keys(a, op.k_stride, op.v_stride);
  float output_scales[kRows];
  for (int t = 0; t < a.tokens; t += kRows) {
    const int rows = t + kRows < a.tokens ? kRows : a.tokens - t;
    pack_q(a, op.q_stride, t);
    multiply<true>(a.packed_q, a.depth, a.packed_k, a.keys, (a.head_width + 3) / 4, a.scores);
    softmax(a, encoders_p, t, rows, output_scales);
    multiply<false>(a.p, a.key_depth, a.packed_v, a.channels, (a.tokens + 3) / 4, a.sums);
    store_output(a, encoders, op.y_stride, t, rows, output_scales);
  }
}

}  // namespace fewbit
