// The numeric vocabulary of ops/numeric.h on 16 floats: the same operations in the same order, so the same bits. simd_avx2.h
// has the same names, so that one text serves both (*_simd.h). For *_avx512.cpp and *_amx.cpp only; everything has internal
// linkage because these files are compiled with other flags.
//
// 512-bit operations, throughput in cycles:
//                      Zen 4   Sapphire Rapids
//   vfmadd, vmulps     1       0.5 (ports 0, 5)    Zen 4 splits a vector in two halves: FMA on two pipes,
//   vaddps             1       0.5                 additions on two others
//   vpermi2ps          1       1   (port 5)
//   vpermi2b           1       1   (VBMI; port 5)
//   vpmovdb            2       2
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "cpu/noinline.h"
#include "ops/encode.h"
#include "ops/numeric_constants.h"

namespace fewbit {
namespace {

using F32x16 = __m512;
using I32x16 = __m512i;

// A block of six rows and this many panels of 16 columns keeps its sums in the registers.
constexpr int kRegisterRows = 6;
constexpr int kRegisterPanels = 4;

inline F32x16 set16(float x) { return _mm512_set1_ps(x); }
inline F32x16 add(F32x16 a, F32x16 b) { return _mm512_add_ps(a, b); }
inline F32x16 sub(F32x16 a, F32x16 b) { return _mm512_sub_ps(a, b); }
inline F32x16 mul(F32x16 a, F32x16 b) { return _mm512_mul_ps(a, b); }
inline F32x16 div(F32x16 a, F32x16 b) { return _mm512_div_ps(a, b); }
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return _mm512_fmadd_ps(a, b, c); }
// A NaN in a gives b.
inline F32x16 max(F32x16 a, F32x16 b) { return _mm512_max_ps(a, b); }
inline F32x16 to_floats(I32x16 x) { return _mm512_cvtepi32_ps(x); }
inline I32x16 set16(int32_t x) { return _mm512_set1_epi32(x); }
inline I32x16 add(I32x16 a, I32x16 b) { return _mm512_add_epi32(a, b); }
inline I32x16 sub(I32x16 a, I32x16 b) { return _mm512_sub_epi32(a, b); }
inline I32x16 max(I32x16 a, I32x16 b) { return _mm512_max_epi32(a, b); }
inline I32x16 shift_left(I32x16 a, I32x16 bits) { return _mm512_sllv_epi32(a, bits); }
inline float reduce_max(F32x16 x) { return _mm512_reduce_max_ps(x); }
inline int32_t reduce_max(I32x16 x) { return _mm512_reduce_max_epi32(x); }

// x between low and high, as an integer: half to even. A NaN gives low.
inline F32x16 round_between(F32x16 x, float low, float high) {
  x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(low)), _mm512_set1_ps(high));
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// Any lanes of 16; a where they are set, else b.
using Mask16 = __mmask16;
inline F32x16 select(Mask16 mask, F32x16 a, F32x16 b) { return _mm512_mask_blend_ps(mask, b, a); }
inline I32x16 select(Mask16 mask, I32x16 a, I32x16 b) { return _mm512_mask_blend_epi32(mask, b, a); }

// The first lanes of 16: those that exist.
class Lanes {
 public:
  explicit Lanes(int count) : mask_(static_cast<Mask16>(count >= 16 ? 0xFFFF : (1u << count) - 1)) {}
  bool full() const { return mask_ == 0xFFFF; }
  Mask16 mask() const { return mask_; }

 private:
  Mask16 mask_;
};

inline F32x16 load(const float* x) { return _mm512_loadu_ps(x); }
inline I32x16 load(const int32_t* x) { return _mm512_loadu_si512(x); }
inline void store(float* y, F32x16 v) { _mm512_storeu_ps(y, v); }
// Lanes that do not exist are 0.
inline F32x16 load(const float* x, Lanes lanes) { return lanes.full() ? load(x) : _mm512_maskz_loadu_ps(lanes.mask(), x); }
inline void store(float* y, Lanes lanes, F32x16 v) {
  if (lanes.full())
    store(y, v);
  else
    _mm512_mask_storeu_ps(y, lanes.mask(), v);
}
inline I32x16 load(const uint8_t* x, Lanes lanes) {
  return _mm512_cvtepu8_epi32(lanes.full() ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(x))
                                           : _mm_maskz_loadu_epi8(lanes.mask(), x));
}
inline void store(uint8_t* y, Lanes lanes, __m128i v) {
  if (lanes.full())
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), v);
  else
    _mm_mask_storeu_epi8(y, lanes.mask(), v);
}

// Those of the lanes whose byte is the given one.
inline Mask16 equal_bytes(Lanes lanes, const uint8_t* x, uint8_t byte) {
  return _mm_mask_cmpeq_epi8_mask(lanes.mask(), _mm_maskz_loadu_epi8(lanes.mask(), x), _mm_set1_epi8(static_cast<char>(byte)));
}

// tree16 of ops/numeric.h: lanes j and j + 8, then j + 4, j + 2, j + 1.
inline float tree16(__m512 lanes) {
  const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

inline __m512 exp_nonpositive(__m512 x) {
  const __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(kExpLowest), _CMP_GE_OQ);
  const __m512 shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(kLog2E), _mm512_set1_ps(kRoundMagic));
  const __m512 n = _mm512_sub_ps(shifted, _mm512_set1_ps(kRoundMagic));
  const __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kLn2Low), _mm512_fmadd_ps(n, _mm512_set1_ps(-kLn2High), x));
  __m512 p = _mm512_set1_ps(kExp[4]);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExp[3]));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExp[2]));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExp[1]));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExp[0]));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
  return _mm512_castsi512_ps(_mm512_maskz_add_epi32(normal, _mm512_castps_si512(p), exponent));
}

// With gelu's polynomial fifteen operations, four of them on the FMA pipes; each coefficient is one shuffle of a table of 32
// floats by the low five bits of `shifted`. A polynomial without segments needs twelve dependent multiply-adds for the same
// error.
struct GeluSegmentF32x16 {
  explicit GeluSegmentF32x16(__m512 x) {
    const __m512 last = _mm512_set1_ps(float(kGeluSegments - 1));
    const __m512 a = _mm512_castsi512_ps(_mm512_and_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x7FFFFFFF)));
    const __m512 z = _mm512_min_ps(last, _mm512_mul_ps(a, _mm512_set1_ps(kGeluSegmentsPerUnit)));
    const __m512 shifted = _mm512_add_ps(z, _mm512_set1_ps(kRoundMagic));
    n = _mm512_castps_si512(shifted);
    f = _mm512_sub_ps(z, _mm512_sub_ps(shifted, _mm512_set1_ps(kRoundMagic)));
  }
  __m512 coefficient(int k) const { return _mm512_permutex2var_ps(_mm512_load_ps(kGelu[k]), n, _mm512_load_ps(kGelu[k] + 16)); }
  __m512i n;
  __m512 f;
};

inline __m512 gelu(__m512 x) {
  const GeluSegmentF32x16 segment(x);
  __m512 r = _mm512_fmadd_ps(segment.coefficient(3), segment.f, segment.coefficient(2));
  r = _mm512_fmadd_ps(r, segment.f, segment.coefficient(1));
  r = _mm512_fmadd_ps(r, segment.f, segment.coefficient(0));
  return _mm512_sub_ps(_mm512_max_ps(_mm512_setzero_ps(), x), r);
}

inline __m512 gelu_slope(__m512 x) {
  const GeluSegmentF32x16 segment(x);
  __m512 r = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_set1_ps(3.0f), segment.coefficient(3)), segment.f,
                             _mm512_mul_ps(_mm512_set1_ps(2.0f), segment.coefficient(2)));
  r = _mm512_mul_ps(_mm512_fmadd_ps(r, segment.f, segment.coefficient(1)), _mm512_set1_ps(kGeluSegmentsPerUnit));
  const __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
  return _mm512_mask_sub_ps(r, positive, _mm512_set1_ps(1.0f), r);
}

// Byte j of dword n is that of lane n of argument j, which is below 256.
inline __m512i join_bytes(__m512i i0, __m512i i1, __m512i i2, __m512i i3) {
  const __m512i i01 = _mm512_or_si512(i0, _mm512_slli_epi32(i1, 8));
  return _mm512_ternarylogic_epi32(i01, _mm512_slli_epi32(i2, 16), _mm512_slli_epi32(i3, 24), 0xFE);
}

// encode() of ops/numeric.h. Make one outside the loops; it holds the table in registers or on the stack.
struct EncoderF32x16 {
  explicit EncoderF32x16(const Encoder& code)
      : inverse_step_(_mm512_set1_ps(code.inverse_step)),
        // With a table the index is clamped before the offset is added, which is the same: both are exact integers.
        low_(_mm512_set1_ps(code.table ? -2.0f * code.offset : float(code.low))),
        high_(_mm512_set1_ps(code.table ? float(kEncodeTable - 1) - 2.0f * code.offset : float(code.high))),
        offset_(_mm512_set1_epi32(code.table ? 2 * code.offset : code.offset)),
        table_(code.table),
        inverse_steps_(code.inverse_steps) {}

  bool by_table() const { return table_ != nullptr; }

  // The inverse steps of 16 columns. Outputs that do not exist are read too: there is padding.
  __m512 inverse_steps(ptrdiff_t column) const {
    return inverse_steps_ ? _mm512_loadu_ps(inverse_steps_ + column) : inverse_step_;
  }

  // `inverse` for columns with steps of their own.
  __m128i operator()(__m512 y) const { return (*this)(y, inverse_step_); }
  __m128i operator()(__m512 y, __m512 inverse) const {
    const __m512i i = index(_mm512_mul_ps(y, inverse));
    if (!table_) return _mm512_cvtepi32_epi8(i);
    // Low bytes and bits 7 and 8 of the index, then the look-up on 16 bytes of a vector.
    const __m512i byte = _mm512_zextsi128_si512(_mm512_cvtepi32_epi8(i));
    const __m512i bit8 = _mm512_zextsi128_si512(_mm512_cvtepi32_epi8(_mm512_srli_epi32(i, 8)));
    return _mm512_castsi512_si128(look_up(byte, _mm512_test_epi8_mask(bit8, bit8)));
  }

  // 64 bytes: those of y0, then y1, y2, y3. With a table this costs a quarter of four calls of the above.
  __m512i operator()(__m512 y0, __m512 y1, __m512 y2, __m512 y3) const {
    return scaled(_mm512_mul_ps(y0, inverse_step_), _mm512_mul_ps(y1, inverse_step_), _mm512_mul_ps(y2, inverse_step_),
                  _mm512_mul_ps(y3, inverse_step_));
  }
  // The same of values that are multiplied with their inverse steps already.
  __m512i scaled(__m512 v0, __m512 v1, __m512 v2, __m512 v3) const {
    const __m512i i0 = index(v0), i1 = index(v1), i2 = index(v2), i3 = index(v3);
    // Packing works inside 128-bit lanes and leaves dword 4 l + v with four indices of vector v; the permutation puts it
    // to 4 v + l. Indices are below 512 and bytes below 256, so nothing saturates.
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i i01 = _mm512_packs_epi32(i0, i1), i23 = _mm512_packs_epi32(i2, i3);
    if (!table_) return _mm512_permutexvar_epi32(order, _mm512_packus_epi16(i01, i23));
    const __m512i byte = _mm512_set1_epi16(255);
    const __m512i low =
        _mm512_permutexvar_epi32(order, _mm512_packus_epi16(_mm512_and_si512(i01, byte), _mm512_and_si512(i23, byte)));
    const __m512i high =
        _mm512_permutexvar_epi32(order, _mm512_packus_epi16(_mm512_srli_epi16(i01, 8), _mm512_srli_epi16(i23, 8)));
    return look_up(low, _mm512_test_epi8_mask(high, high));
  }

  // 64 bytes as well: byte j of dword n is that of lane n of value j.
  __m512i quads(__m512 y0, __m512 y1, __m512 y2, __m512 y3) const {
    const __m512i i0 = index(_mm512_mul_ps(y0, inverse_step_)), i1 = index(_mm512_mul_ps(y1, inverse_step_)),
                  i2 = index(_mm512_mul_ps(y2, inverse_step_)), i3 = index(_mm512_mul_ps(y3, inverse_step_));
    if (!table_) return join_bytes(i0, i1, i2, i3);
    return look_up(i0, i1, i2, i3);
  }

  // The same of indices into the table.
  __m512i look_up(__m512i i0, __m512i i1, __m512i i2, __m512i i3) const {
    const __m512i even = _mm512_set1_epi32(0x00FF00FF);
    const __m512i i02 = _mm512_or_si512(i0, _mm512_slli_epi32(i2, 16)), i13 = _mm512_or_si512(i1, _mm512_slli_epi32(i3, 16));
    const __m512i low = _mm512_ternarylogic_epi32(even, i02, _mm512_slli_epi32(i13, 8), 0xCA);
    const __m512i high = _mm512_ternarylogic_epi32(even, _mm512_srli_epi32(i02, 8), i13, 0xCA);
    return look_up(low, _mm512_test_epi8_mask(high, high));
  }

 private:
  // Of a value times its inverse step: the byte itself, or the index into the table.
  __m512i index(__m512 v) const {
    if (!table_) {
      const __m512 c = _mm512_min_ps(_mm512_max_ps(v, low_), high_);
      return _mm512_add_epi32(_mm512_cvt_roundps_epi32(c, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), offset_);
    }
    const __m512 c = _mm512_min_ps(_mm512_max_ps(_mm512_add_ps(v, v), low_), high_);
    return _mm512_add_epi32(_mm512_cvt_roundps_epi32(c, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC), offset_);
  }

  // table[byte + 256 * bit8]: vpermi2b looks at seven bits, the other two choose between four of its answers.
  __m512i look_up(__m512i byte, __mmask64 bit8) const {
    const auto part = [&](int k) {
      return _mm512_permutex2var_epi8(_mm512_loadu_si512(table_ + 128 * k), byte, _mm512_loadu_si512(table_ + 128 * k + 64));
    };
    const __mmask64 bit7 = _mm512_movepi8_mask(byte);
    const __m512i below = _mm512_mask_blend_epi8(bit7, part(0), part(1));
    const __m512i above = _mm512_mask_blend_epi8(bit7, part(2), part(3));
    return _mm512_mask_blend_epi8(bit8, below, above);
  }

  __m512 inverse_step_, low_, high_;
  __m512i offset_;
  const uint8_t* table_;
  const float* inverse_steps_;
};

// Bytes of the same columns of four rows, which with a table is one look-up for all.
inline void store_encoded(const EncoderF32x16& encode, const F32x16 (&y)[4], F32x16 inverse, uint8_t* to, ptrdiff_t stride,
                          Lanes lanes) {
  const __m512i bytes = encode.scaled(mul(y[0], inverse), mul(y[1], inverse), mul(y[2], inverse), mul(y[3], inverse));
  store(to, lanes, _mm512_castsi512_si128(bytes));
  store(to + stride, lanes, _mm512_extracti32x4_epi32(bytes, 1));
  store(to + 2 * stride, lanes, _mm512_extracti32x4_epi32(bytes, 2));
  store(to + 3 * stride, lanes, _mm512_extracti32x4_epi32(bytes, 3));
}

}  // namespace
}  // namespace fewbit
