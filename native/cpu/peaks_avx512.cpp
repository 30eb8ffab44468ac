#include <immintrin.h>

#include "cpu/peaks.h"

namespace fewbit {
namespace {

constexpr int kSums = 24;  // more than latency times throughput of any core
constexpr int kSteps = 4000;
constexpr int kRuns = 300;  // of some 30 us

// Sums of four products.
inline void dot(__m512i& sum, const __m512i& a) {
#ifdef __GNUC__
  asm volatile("vpdpbusd %1, %1, %0" : "+v"(sum) : "v"(a));
#else
  sum = _mm512_dpbusd_epi32(sum, a, a);
#endif
}

inline void multiply_add(__m512& sum, const __m512& a) {
#ifdef __GNUC__
  asm volatile("vfmadd231ps %1, %1, %0" : "+v"(sum) : "v"(a));
#else
  sum = _mm512_fmadd_ps(a, a, sum);
#endif
}

// kSums independent chains of kSteps steps. Every loop over the sums is unrolled, or gcc 12 keeps them in memory.
template <class Vector, void (*kStep)(Vector&, const Vector&)>
void run_chains() {
  const Vector a = {};
  Vector sum[kSums];
#pragma GCC unroll 24
  for (int j = 0; j < kSums; ++j) sum[j] = a;
  for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 24
    for (int j = 0; j < kSums; ++j) kStep(sum[j], a);
  }
  Vector kept = sum[0];
#pragma GCC unroll 24
  for (int j = 1; j < kSums; ++j) kept = sum[j];
  volatile Vector sink = kept;
  (void)sink;
}

}  // namespace

Peaks peaks_avx512() {
  constexpr double kInstructions = double(kSums) * kSteps;
  return {2 * 64 * kInstructions / shortest_run(kRuns, run_chains<__m512i, dot>),
          2 * 16 * kInstructions / shortest_run(kRuns, run_chains<__m512, multiply_add>)};
}

}  // namespace fewbit
