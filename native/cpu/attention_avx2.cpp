// AttentionCodes on AVX2: both operands of both products have 8 bits, so all is widened to 16 (product_avx2.h). Six queries at a
// time go through scores, softmax and output.
//
// Layouts in scratch; a "pair" is two consecutive summands of one column:
//   q   [rows][depth] levels              zeros behind head_width
//   K   [depth / 2][keys][2] levels       row of a product's right side: a pair of channels of all keys
//   P   [rows][key_depth]                 zeros behind the last key
//   V   [key_depth / 2][channels][2] levels
// Scores and sums of the output are [rows][keys] and [rows][channels] int32.
#include "cpu/implementations.h"
#include "cpu/product_avx2.h"
#include "cpu/simd_avx2.h"

#include "cpu/attention_softmax_simd.h"
#include "cpu/row_encoders_simd.h"

namespace fewbit {
namespace {

constexpr int kRows = kRegisterRows;

struct AttentionTask : AttentionHead {
  int depth, key_depth, channels;  // padded sizes, multiples of 16
  int16_t *packed_k, *packed_v, *packed_q, *p;
  int32_t* sums;

  AttentionTask(const AttentionCodes& op, int task, void* scratch)
      : AttentionHead(op, task, 16),
        depth(round_up(head_width, 16)),
        key_depth(round_up(tokens, 16)),
        channels(round_up(head_width, 16)) {
    // Every size is a multiple of 32 bytes.
    packed_k = static_cast<int16_t*>(scratch);
    packed_v = packed_k + ptrdiff_t(depth) * keys;
    packed_q = packed_v + ptrdiff_t(key_depth) * channels;
    p = packed_q + ptrdiff_t(kRows) * depth;
    scores = reinterpret_cast<int32_t*>(p + ptrdiff_t(kRows) * key_depth);
    sums = scores + ptrdiff_t(kRows) * keys;
  }

  // Levels of 16 channels of a token; zeros behind the last channel, and of tokens that do not exist.
  __m256i levels(const uint8_t* x, ptrdiff_t stride, int token, int channel) const {
    if (token >= tokens) return _mm256_setzero_si256();
    const Lanes lanes(head_width - channel);
    const __m128i bytes = load_bytes(x + attention_row(row_of, token) * stride + channel, lanes);
    const __m256i levels = _mm256_sub_epi16(_mm256_cvtepu8_epi16(bytes), _mm256_set1_epi16(128));
    if (lanes.full()) return levels;
    const Mask16 mask = lanes.mask();
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(mask.low, mask.high), 0xD8);
    return _mm256_and_si256(levels, words);
  }
};

void pack_k(const AttentionTask& a, ptrdiff_t stride) {
  for (int c = 0; c < a.depth; c += 16)
    for (int s = 0; s < a.keys; ++s) {
      alignas(32) int32_t pairs[8];
      _mm256_store_si256(reinterpret_cast<__m256i*>(pairs), a.levels(a.k, stride, s, c));
      int16_t* y = a.packed_k + ptrdiff_t(c) * a.keys + 2 * s;
      for (int i = 0; i < 8; ++i) std::memcpy(y + ptrdiff_t(2 * i) * a.keys, pairs + i, sizeof pairs[i]);
    }
}

void pack_v(const AttentionTask& a, ptrdiff_t stride) {
  for (int s = 0; s < a.key_depth; s += 2)
    for (int c = 0; c < a.channels; c += 16) {
      const __m256i first = a.levels(a.v, stride, s, c), second = a.levels(a.v, stride, s + 1, c);
      // Channels 0..3 and 8..11, then 4..7 and 12..15.
      const __m256i low = _mm256_unpacklo_epi16(first, second), high = _mm256_unpackhi_epi16(first, second);
      __m256i* y = reinterpret_cast<__m256i*>(a.packed_v + ptrdiff_t(s) * a.channels + 2 * c);
      _mm256_store_si256(y, _mm256_permute2x128_si256(low, high, 0x20));
      _mm256_store_si256(y + 1, _mm256_permute2x128_si256(low, high, 0x31));
    }
}

// Rows behind the last query repeat it: their results are computed and dropped.
void pack_q(const AttentionTask& a, ptrdiff_t stride, int t) {
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < a.depth; c += 16) {
      int16_t* y = a.packed_q + ptrdiff_t(r) * a.depth + c;
      const int token = t + r < a.tokens ? t + r : a.tokens - 1;
      _mm256_store_si256(reinterpret_cast<__m256i*>(y), a.levels(a.q, stride, token, c));
    }
}

// x: [kRows][depth], b: [depth / 2][columns][2], y: [kRows][columns].
void multiply(const int16_t* x, int depth, const int16_t* b, int columns, int summands, int32_t* y) {
  for (int n = 0; n < columns; n += 16)
    multiply_pairs<kRows>(x, depth, b + 2 * n, 2 * ptrdiff_t(columns), (summands + 1) / 2, y + n, columns);
}

// The sum of a row of P.
int32_t sum_of_codes(const int16_t* p, int key_depth) {
  __m256i sums = _mm256_setzero_si256();
  for (int i = 0; i < key_depth; i += 16)
    sums = _mm256_add_epi32(sums,
                            _mm256_madd_epi16(_mm256_load_si256(reinterpret_cast<const __m256i*>(p + i)), _mm256_set1_epi16(1)));
  alignas(32) int32_t parts[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(parts), sums);
  int32_t sum = 0;
  for (int32_t part : parts) sum += part;
  return sum;
}

// e times a factor of its row to P, and what the sums of products with each row are multiplied with.
FEWBIT_NOINLINE void weights(const AttentionTask& a, const RowEncoders& encoders_p, int t, int rows, const float* inverse_z,
                             float* output_scales) {
  for (int r = 0; r < rows; ++r) {
    const EncoderF32x16& encode_p = encoders_p.of(attention_row(a.row_of, t + r));
    const float* e = reinterpret_cast<const float*>(a.scores) + ptrdiff_t(r) * a.keys;
    int16_t* p = a.p + ptrdiff_t(r) * a.key_depth;
    const F32x16 factor = set16(a.relative ? 1.0f : inverse_z[r]);
    for (int i = 0; i < a.tokens; i += 16)
      _mm256_store_si256(reinterpret_cast<__m256i*>(p + i), encode_p.words(mul(load(e + i), factor)));
    std::memset(p + a.tokens, 0, (a.key_depth - a.tokens) * sizeof *p);
    output_scales[r] = a.relative ? relative_scale(a.output_scale, sum_of_codes(p, a.key_depth)) : a.output_scale;
  }
}

FEWBIT_NOINLINE void store_output(const AttentionTask& a, const RowEncoders& encoders, ptrdiff_t stride, int t, int rows,
                                  const float* output_scales) {
  for (int r = 0; r < rows; ++r) {
    const F32x16 scale = set16(output_scales[r]);
    const int32_t* o = a.sums + ptrdiff_t(r) * a.channels;
    const ptrdiff_t row = attention_row(a.row_of, t + r);
    const EncoderF32x16& encode = encoders.of(row);
    uint8_t* y = a.y + row * stride;
    for (int c = 0; c < a.head_width; c += 16) store(y + c, Lanes(a.head_width - c), encode(mul(to_floats(load(o + c)), scale)));
  }
}

}  // namespace

void attention_codes_avx2(const AttentionCodes& op, int task, void* scratch) {
  const AttentionTask a(op, task, scratch);
  Encoder code_p = op.encode_p;
  code_p.inverse_step = a.p_inverse_step;
  const RowEncoders encoders_p(code_p), encoders(op.encode);
  const int32_t beyond[kRows] = {};
  float inverse_z[kRows], output_scales[kRows];
  pack_k(a, op.k_stride);
  pack_v(a, op.v_stride);
  for (int t = 0; t < a.tokens; t += kRows) {
    const int rows = t + kRows < a.tokens ? kRows : a.tokens - t;
    pack_q(a, op.q_stride, t);
    multiply(a.packed_q, a.depth, a.packed_k, a.keys, a.head_width, a.scores);
    if (a.logits) {
      float m[kRows];
      logits_of_scores(a, t, rows, beyond, m);
      exponentials<OfLogits>(a, rows, m, inverse_z);
    } else {
      int32_t m[kRows];
      maxima(a, rows, m);
      exponentials<OfScores>(a, rows, m, inverse_z);
    }
    weights(a, encoders_p, t, rows, inverse_z, output_scales);
    multiply(a.p, a.key_depth, a.packed_v, a.channels, a.tokens, a.sums);
    store_output(a, encoders, op.y_stride, t, rows, output_scales);
  }
}

}  // namespace fewbit
