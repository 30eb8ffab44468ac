#include <immintrin.h>

#include "cpu/peaks.h"

namespace fewbit {
namespace {

constexpr int kSums = 12;  // more than latency times throughput of any core, and with the operands all sixteen registers
constexpr int kSteps = 4000;
constexpr int kRuns = 300;  // of some 30 us

// Sums of four products in three instructions.
inline void dot(__m256i& sum, const __m256i& a) {
#ifdef __GNUC__
  __m256i pairs;
  asm volatile(
      "vpmaddubsw %2, %2, %1\n\t"
      "vpmaddwd %2, %1, %1\n\t"
      "vpaddd %1, %0, %0"
      : "+x"(sum), "=&x"(pairs)
      : "x"(a));
#else
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, a), a));
#endif
}

// The same in one.
inline void dot_vnni(__m256i& sum, const __m256i& a) {
#ifdef __GNUC__
  asm volatile("%{vex%} vpdpbusd %1, %1, %0" : "+x"(sum) : "x"(a));
#else
  sum = _mm256_dpbusd_avx_epi32(sum, a, a);
#endif
}

inline void multiply_add(__m256& sum, const __m256& a) {
#ifdef __GNUC__
  asm volatile("vfmadd231ps %1, %1, %0" : "+x"(sum) : "x"(a));
#else
  sum = _mm256_fmadd_ps(a, a, sum);
#endif
}

// Seconds that kSums independent chains of kSteps steps take. Every loop over the sums is unrolled, or gcc 12 keeps them in
// memory.
template <class Vector, void (*kStep)(Vector&, const Vector&)>
double seconds_of(Vector a) {
  Vector kept;
  const double seconds = shortest_run(kRuns, [&] {
    Vector sum[kSums];
#pragma GCC unroll 12
    for (int j = 0; j < kSums; ++j) sum[j] = a;
    for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
      for (int j = 0; j < kSums; ++j) kStep(sum[j], a);
    }
#pragma GCC unroll 12
    for (int j = 0; j < kSums; ++j) kept = sum[j];
  });
  volatile Vector sink = kept;
  (void)sink;
  return seconds;
}

template <void (*kDot)(__m256i&, const __m256i&)>
Peaks peaks() {
  constexpr double kInstructions = double(kSums) * kSteps;
  return {2 * 32 * kInstructions / seconds_of<__m256i, kDot>(_mm256_set1_epi16(1)),
          2 * 8 * kInstructions / seconds_of<__m256, multiply_add>(_mm256_set1_ps(0.5f))};
}

}  // namespace

Peaks peaks_avx2() { return peaks<dot>(); }
Peaks peaks_avxvnni() { return peaks<dot_vnni>(); }

}  // namespace fewbit
