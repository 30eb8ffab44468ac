// The numeric vocabulary of ops/numeric.h on 16 floats in two AVX2 vectors: the same operations in the same order, so the same
// bits. The names are those of simd_avx512.h, so that one text serves both (*_simd.h). For *_avx2.cpp and *_avxvnni.cpp only;
// everything has internal linkage because these files are compiled with other flags.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/noinline.h"
#include "ops/encode.h"
#include "ops/numeric_constants.h"

namespace fewbit {
namespace {

// A block of six rows and this many panels of 16 columns keeps its sums in the registers.
constexpr int kRegisterRows = 6;
constexpr int kRegisterPanels = 1;

// Lanes 0..7 and 8..15.
struct F32x16 {
  __m256 low, high;
};
struct I32x16 {
  __m256i low, high;
};

inline F32x16 set16(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F32x16 add(const F32x16& a, const F32x16& b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
inline F32x16 sub(const F32x16& a, const F32x16& b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
inline F32x16 mul(const F32x16& a, const F32x16& b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
inline F32x16 div(const F32x16& a, const F32x16& b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
inline F32x16 fma(const F32x16& a, const F32x16& b, const F32x16& c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
// A NaN in a gives b.
inline F32x16 max(const F32x16& a, const F32x16& b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
inline F32x16 to_floats(const I32x16& x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }
inline I32x16 set16(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline I32x16 add(const I32x16& a, const I32x16& b) { return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)}; }
inline I32x16 sub(const I32x16& a, const I32x16& b) { return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)}; }
inline I32x16 max(const I32x16& a, const I32x16& b) { return {_mm256_max_epi32(a.low, b.low), _mm256_max_epi32(a.high, b.high)}; }
inline I32x16 shift_left(const I32x16& a, const I32x16& bits) {
  return {_mm256_sllv_epi32(a.low, bits.low), _mm256_sllv_epi32(a.high, bits.high)};
}
inline float reduce_max(const F32x16& x) {
  const __m256 m8 = _mm256_max_ps(x.low, x.high);
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}
inline int32_t reduce_max(const I32x16& x) {
  const __m256i m8 = _mm256_max_epi32(x.low, x.high);
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(m8), _mm256_extracti128_si256(m8, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
  return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1)));
}

// x between low and high, as an integer: half to even. A NaN gives low.
inline F32x16 round_between(const F32x16& x, float low, float high) {
  const auto half = [low, high](__m256 v) {
    v = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(low)), _mm256_set1_ps(high));
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  };
  return {half(x.low), half(x.high)};
}

// Any lanes of 16, -1 or 0 each; a where they are set, else b.
using Mask16 = I32x16;
inline F32x16 select(const Mask16& mask, const F32x16& a, const F32x16& b) {
  return {_mm256_blendv_ps(b.low, a.low, _mm256_castsi256_ps(mask.low)),
          _mm256_blendv_ps(b.high, a.high, _mm256_castsi256_ps(mask.high))};
}
inline I32x16 select(const Mask16& mask, const I32x16& a, const I32x16& b) {
  return {_mm256_blendv_epi8(b.low, a.low, mask.low), _mm256_blendv_epi8(b.high, a.high, mask.high)};
}

// The first lanes of 16: those that exist.
class Lanes {
 public:
  explicit Lanes(int count) : count_(count < 16 ? count : 16) {}
  bool full() const { return count_ == 16; }
  int count() const { return count_; }
  Mask16 mask() const { return {mask(count_ < 8 ? count_ : 8), mask(count_ < 8 ? 0 : count_ - 8)}; }

 private:
  static __m256i mask(int count) {
    static constexpr int32_t lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes + 8 - count));
  }
  int count_;
};

inline F32x16 load(const float* x) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
inline I32x16 load(const int32_t* x) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 8))};
}
inline void store(float* y, const F32x16& v) {
  _mm256_storeu_ps(y, v.low);
  _mm256_storeu_ps(y + 8, v.high);
}
// Lanes that do not exist are 0.
inline F32x16 load(const float* x, const Lanes& lanes) {
  if (lanes.full()) return load(x);
  const Mask16 mask = lanes.mask();
  return {_mm256_maskload_ps(x, mask.low), _mm256_maskload_ps(x + 8, mask.high)};
}
inline void store(float* y, const Lanes& lanes, const F32x16& v) {
  if (lanes.full()) return store(y, v);
  const Mask16 mask = lanes.mask();
  _mm256_maskstore_ps(y, mask.low, v.low);
  _mm256_maskstore_ps(y + 8, mask.high, v.high);
}

inline __m128i load_bytes(const uint8_t* x, const Lanes& lanes) {
  if (lanes.full()) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
  alignas(16) uint8_t bytes[16] = {};
  std::memcpy(bytes, x, lanes.count());
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
}
inline I32x16 load(const uint8_t* x, const Lanes& lanes) {
  const __m128i bytes = load_bytes(x, lanes);
  return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}
inline void store(uint8_t* y, const Lanes& lanes, __m128i v) {
  if (lanes.full()) return _mm_storeu_si128(reinterpret_cast<__m128i*>(y), v);
  alignas(16) uint8_t bytes[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(bytes), v);
  std::memcpy(y, bytes, lanes.count());
}

// Those of the lanes whose byte is the given one.
inline Mask16 equal_bytes(const Lanes& lanes, const uint8_t* x, uint8_t byte) {
  const __m128i equal = _mm_cmpeq_epi8(load_bytes(x, lanes), _mm_set1_epi8(static_cast<char>(byte)));
  const Mask16 existing = lanes.mask();
  return {_mm256_and_si256(existing.low, _mm256_cvtepi8_epi32(equal)),
          _mm256_and_si256(existing.high, _mm256_cvtepi8_epi32(_mm_srli_si128(equal, 8)))};
}

// tree16 of ops/numeric.h: lanes j and j + 8, then j + 4, j + 2, j + 1.
inline float tree16(const F32x16& lanes) {
  const __m256 s8 = _mm256_add_ps(lanes.low, lanes.high);
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

inline __m256 exp_nonpositive_f32x8(__m256 x) {
  const __m256 normal = _mm256_cmp_ps(x, _mm256_set1_ps(kExpLowest), _CMP_GE_OQ);
  const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(kLog2E), _mm256_set1_ps(kRoundMagic));
  const __m256 n = _mm256_sub_ps(shifted, _mm256_set1_ps(kRoundMagic));
  const __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kLn2Low), _mm256_fmadd_ps(n, _mm256_set1_ps(-kLn2High), x));
  __m256 p = _mm256_set1_ps(kExp[4]);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExp[3]));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExp[2]));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExp[1]));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExp[0]));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  return _mm256_and_ps(normal, _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent)));
}
inline F32x16 exp_nonpositive(const F32x16& x) { return {exp_nonpositive_f32x8(x.low), exp_nonpositive_f32x8(x.high)}; }

// Each coefficient is four permutations of 8 floats, of which bits 3 and 4 of the segment choose one. Loading the coefficients
// of each float and transposing them takes as long, gathering them twice as long.
struct GeluSegmentF32x8 {
  explicit GeluSegmentF32x8(__m256 x) {
    const __m256 last = _mm256_set1_ps(float(kGeluSegments - 1));
    const __m256 a = _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF)));
    const __m256 z = _mm256_min_ps(last, _mm256_mul_ps(a, _mm256_set1_ps(kGeluSegmentsPerUnit)));
    const __m256 shifted = _mm256_add_ps(z, _mm256_set1_ps(kRoundMagic));
    n = _mm256_castps_si256(shifted);
    f = _mm256_sub_ps(z, _mm256_sub_ps(shifted, _mm256_set1_ps(kRoundMagic)));
  }
  __m256 coefficient(int k) const {
    const auto part = [&](int i) { return _mm256_permutevar8x32_ps(_mm256_load_ps(kGelu[k] + 8 * i), n); };
    const __m256 bit3 = _mm256_castsi256_ps(_mm256_slli_epi32(n, 28)), bit4 = _mm256_castsi256_ps(_mm256_slli_epi32(n, 27));
    return _mm256_blendv_ps(_mm256_blendv_ps(part(0), part(1), bit3), _mm256_blendv_ps(part(2), part(3), bit3), bit4);
  }
  __m256i n;
  __m256 f;
};

inline __m256 gelu_f32x8(__m256 x) {
  const GeluSegmentF32x8 segment(x);
  __m256 r = _mm256_fmadd_ps(segment.coefficient(3), segment.f, segment.coefficient(2));
  r = _mm256_fmadd_ps(r, segment.f, segment.coefficient(1));
  r = _mm256_fmadd_ps(r, segment.f, segment.coefficient(0));
  return _mm256_sub_ps(_mm256_max_ps(_mm256_setzero_ps(), x), r);
}
inline F32x16 gelu(const F32x16& x) { return {gelu_f32x8(x.low), gelu_f32x8(x.high)}; }

inline __m256 gelu_slope_f32x8(__m256 x) {
  const GeluSegmentF32x8 segment(x);
  __m256 r = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_set1_ps(3.0f), segment.coefficient(3)), segment.f,
                             _mm256_mul_ps(_mm256_set1_ps(2.0f), segment.coefficient(2)));
  r = _mm256_mul_ps(_mm256_fmadd_ps(r, segment.f, segment.coefficient(1)), _mm256_set1_ps(kGeluSegmentsPerUnit));
  const __m256 positive = _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ);
  return _mm256_blendv_ps(r, _mm256_sub_ps(_mm256_set1_ps(1.0f), r), positive);
}
inline F32x16 gelu_slope(const F32x16& x) { return {gelu_slope_f32x8(x.low), gelu_slope_f32x8(x.high)}; }

// encode() of ops/numeric.h. Make one outside the loops.
struct EncoderF32x16 {
  explicit EncoderF32x16(const Encoder& code)
      : inverse_step_(_mm256_set1_ps(code.inverse_step)),
        // With a table the index is clamped before the offset is added, which is the same: both are exact integers.
        low_(_mm256_set1_ps(code.table ? -2.0f * code.offset : float(code.low))),
        high_(_mm256_set1_ps(code.table ? float(kEncodeTable - 1) - 2.0f * code.offset : float(code.high))),
        offset_(_mm256_set1_epi32(code.table ? 2 * code.offset : code.offset)),
        table_(code.table),
        inverse_steps_(code.inverse_steps) {}

  bool by_table() const { return table_ != nullptr; }

  // The inverse steps of 16 columns. Outputs that do not exist are read too: there is padding.
  F32x16 inverse_steps(ptrdiff_t column) const {
    return inverse_steps_ ? load(inverse_steps_ + column) : F32x16{inverse_step_, inverse_step_};
  }

  // `inverse` for columns with steps of their own.
  __m128i operator()(const F32x16& y) const { return (*this)(y, {inverse_step_, inverse_step_}); }
  __m128i operator()(const F32x16& y, const F32x16& inverse) const {
    const __m256i w = words(y, inverse);
    return _mm_packus_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
  }

  // The bytes, each in 16 bits.
  __m256i words(const F32x16& y) const { return words(y, {inverse_step_, inverse_step_}); }
  __m256i words(const F32x16& y, const F32x16& inverse) const {
    const __m256i low = index(_mm256_mul_ps(y.low, inverse.low)), high = index(_mm256_mul_ps(y.high, inverse.high));
    // Packing works inside 128-bit lanes.
    const __m256i indices = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
    return table_ ? look_up(indices) : indices;
  }

 private:
  // Of a value times its inverse step: the byte itself, or the index into the table.
  __m256i index(__m256 v) const {
    if (!table_) return _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(v, low_), high_)), offset_);
    const __m256 c = _mm256_min_ps(_mm256_max_ps(_mm256_add_ps(v, v), low_), high_);
    return _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_floor_ps(c)), offset_);
  }

  // No instruction looks up in 512 bytes.
  __m256i look_up(__m256i indices) const {
    alignas(32) uint16_t i[16];
    _mm256_store_si256(reinterpret_cast<__m256i*>(i), indices);
    for (uint16_t& word : i) word = table_[word];
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(i));
  }

  __m256 inverse_step_, low_, high_;
  __m256i offset_;
  const uint8_t* table_;
  const float* inverse_steps_;
};

// Bytes of the same columns of four rows.
inline void store_encoded(const EncoderF32x16& encode, const F32x16 (&y)[4], const F32x16& inverse, uint8_t* to, ptrdiff_t stride,
                          const Lanes& lanes) {
  for (int i = 0; i < 4; ++i) store(to + i * stride, lanes, encode(y[i], inverse));
}

}  // namespace
}  // namespace fewbit
