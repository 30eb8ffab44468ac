#include <immintrin.h>

#include "cpu/peaks.h"

namespace fewbit {
namespace {

constexpr int kSums = 24;  // more than latency times throughput of any core
constexpr int kSteps = 4000;
constexpr int kRuns = 300;  // of some 30 us

inline __m512i dot(__m512i sum, __m512i a, __m512i b) {
#ifdef __GNUC__
  asm volatile("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
#else
  return _mm512_dpbusd_epi32(sum, a, b);
#endif
}

inline __m512 multiply_add(__m512 sum, __m512 a, __m512 b) {
#ifdef __GNUC__
  asm volatile("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
#else
  return _mm512_fmadd_ps(a, b, sum);
#endif
}

// Seconds that kSums independent chains of kSteps steps take.
template <class Vector, class Step>
double seconds_of(Vector a, Step step) {
  return shortest_run(kRuns, [&] {
    Vector sum[kSums];
#pragma GCC unroll 24
    for (int j = 0; j < kSums; ++j) sum[j] = a;
    for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 24
      for (int j = 0; j < kSums; ++j) sum[j] = step(sum[j], a, a);
    }
    volatile Vector kept = sum[0];
    (void)kept;
  });
}

}  // namespace

Peaks peaks_avx512() {
  constexpr double kInstructions = double(kSums) * kSteps;
  return {2 * 64 * kInstructions / seconds_of(_mm512_set1_epi32(1), dot),
          2 * 16 * kInstructions / seconds_of(_mm512_set1_ps(0.5f), multiply_add)};
}

}  // namespace fewbit
