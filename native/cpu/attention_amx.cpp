// AttentionCodes on AMX int8.
//
// 32 queries at a time; both products in blocks of 2 x 2 tiles (32 rows x 32 columns): tiles 0..3 are sums, 4 and 5 rows of
// the left operand, 6 and 7 of the right. Depth is padded to whole tiles of 64 summands, columns to 32, so one configuration
// with full tiles serves all sizes. The products of a head are a tenth of its time here: softmax is the rest.
#include "cpu/attention_rows_avx512.h"
#include "cpu/implementations.h"
#include "cpu/tile_amx.h"

namespace FEWBIT_AMX_NAMESPACE {

void attention_codes_amx(const AttentionCodes& op, int task, void* scratch);

namespace {

constexpr int kRows = 32;
constexpr int kColumns = 32;
constexpr int kSummands = 64;

struct AttentionTask : QueryRows {
  int channels;  // a multiple of 32
  uint8_t *packed_k, *packed_v;
  int32_t* sums;

  AttentionTask(const AttentionCodes& op, int task, void* scratch)
      : QueryRows(AttentionHead(op, task, kColumns), kRows, round_up(op.head_width, kSummands), round_up(op.tokens, kSummands),
                  scratch),
        channels(round_up(head_width, kColumns)) {
    ScratchParts parts(rest);
    packed_k = parts.take<uint8_t>(ptrdiff_t(depth) * keys);
    packed_v = parts.take<uint8_t>(ptrdiff_t(key_depth) * channels);
    sums = parts.take<int32_t>(ptrdiff_t(rows) * channels);
  }
};

// y [32][columns] = x [32][depth] times b [depth / 4][columns][4]; x is signed and b unsigned, or the other way round.
template <bool kSignedX>
void multiply(const uint8_t* x, int depth, const uint8_t* b, int columns, int32_t* y) {
  const ptrdiff_t stride = 4 * ptrdiff_t(columns);  // bytes of a row of b and of y
  for (int n = 0; n < columns; n += kColumns) {
    tile_zero<0>();
    tile_zero<1>();
    tile_zero<2>();
    tile_zero<3>();
    for (int k = 0; k < depth; k += kSummands) {
      tile_load<4>(x + k, depth);
      tile_load<5>(x + k + 16 * ptrdiff_t(depth), depth);
      tile_load<6>(b + k / 4 * stride + 4 * n, stride);
      tile_load<7>(b + k / 4 * stride + 4 * n + 64, stride);
      if (kSignedX) {
        tile_dpbsud<0, 4, 6>();
        tile_dpbsud<1, 4, 7>();
        tile_dpbsud<2, 5, 6>();
        tile_dpbsud<3, 5, 7>();
      } else {
        tile_dpbusd<0, 4, 6>();
        tile_dpbusd<1, 4, 7>();
        tile_dpbusd<2, 5, 6>();
        tile_dpbusd<3, 5, 7>();
      }
    }
    tile_store<0>(y + n, stride);
    tile_store<1>(y + n + 16, stride);
    tile_store<2>(y + n + 16 * ptrdiff_t(columns), stride);
    tile_store<3>(y + n + 16 * ptrdiff_t(columns) + 16, stride);
  }
}

}  // namespace

void attention_codes_amx(const AttentionCodes& op, int task, void* scratch) {
  const AttentionTask a(op, task, scratch);
  Encoder code_p = op.encode_p;
  code_p.inverse_step = a.p_inverse_step;
  const RowEncoders encoders_p(code_p), encoders(op.encode);
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) config.set(tile, 16, 64);
  tile_load_config(config);
  pack_columns(a, a.k, op.k_stride, a.depth, a.keys, a.packed_k, false);
  pack_values(a, op.v_stride, a.key_depth, a.channels, a.packed_v);
  float output_scales[kRows];
  for (int t = 0; t < a.tokens; t += kRows) {
    const int rows = t + kRows < a.tokens ? kRows : a.tokens - t;
    pack_q(a, op.q_stride, t);
    multiply<true>(a.packed_q, a.depth, a.packed_k, a.keys, a.scores);
    softmax(a, encoders_p, t, rows, output_scales);
    multiply<false>(a.p, a.key_depth, a.packed_v, a.channels, a.sums);
    store_rows(a, a.sums, a.channels, encoders, op.y_stride, t, rows, output_scales);
  }
  tile_release();
}

}  // namespace FEWBIT_AMX_NAMESPACE
