// Chains of 256-bit instructions for peaks_avx2.cpp and peaks_avxvnni.cpp.
#pragma once

#include <immintrin.h>

#include "cpu/peaks.h"

namespace fewbit {
namespace {

constexpr int kSums = 12;  // more than latency times throughput of any core, and with the operands all sixteen registers
constexpr int kSteps = 4000;
constexpr int kRuns = 300;  // of some 30 us

inline void multiply_add(__m256& sum, const __m256& a) {
#ifdef __GNUC__
  asm volatile("vfmadd231ps %1, %1, %0" : "+x"(sum) : "x"(a));
#else
  sum = _mm256_fmadd_ps(a, a, sum);
#endif
}

// kSums independent chains of kSteps steps. Every loop over the sums is unrolled, or gcc 12 keeps them in memory.
template <class Vector, void (*kStep)(Vector&, const Vector&)>
void run_chains() {
  const Vector a = {};
  Vector sum[kSums];
#pragma GCC unroll 12
  for (int j = 0; j < kSums; ++j) sum[j] = a;
  for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kSums; ++j) kStep(sum[j], a);
  }
  Vector kept = sum[0];
#pragma GCC unroll 12
  for (int j = 1; j < kSums; ++j) kept = sum[j];
  volatile Vector sink = kept;
  (void)sink;
}

// kDot: 32 products of bytes.
template <void (*kDot)(__m256i&, const __m256i&)>
Peaks peaks_of() {
  constexpr double kInstructions = double(kSums) * kSteps;
  return {2 * 32 * kInstructions / shortest_run(kRuns, run_chains<__m256i, kDot>),
          2 * 8 * kInstructions / shortest_run(kRuns, run_chains<__m256, multiply_add>)};
}

}  // namespace
}  // namespace fewbit
