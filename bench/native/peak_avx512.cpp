#include "peak.h"

#include <immintrin.h>

#include <chrono>

namespace fewbit {
namespace {

constexpr int kSums = 24;     // more than latency * throughput of any core
constexpr int kSteps = 4000;  // a run is about 30 us

// The best of many runs, in seconds. The empty assembler keeps the compiler from removing the work.
template <class Step>
double best_seconds(Step step) {
  using Clock = std::chrono::steady_clock;
  double best = 1;
  for (int run = 0; run < 2000; ++run) {
    const auto begin = Clock::now();
    step();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = seconds < best ? seconds : best;
  }
  return best;
}

}  // namespace

double peak_vnni_gops() {
  const double seconds = best_seconds([] {
    __m512i sum[kSums], a = _mm512_set1_epi32(1), b = a;
#pragma GCC unroll 24
    for (int j = 0; j < kSums; ++j) sum[j] = a;
    for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 24
      for (int j = 0; j < kSums; ++j) asm volatile("vpdpbusd %2, %1, %0" : "+v"(sum[j]) : "v"(a), "v"(b));
    }
  });
  return 64.0 * 2 * kSums * kSteps / seconds * 1e-9;
}

double peak_fma_gflops() {
  const double seconds = best_seconds([] {
    __m512 sum[kSums], a = _mm512_set1_ps(0.5f), b = a;
#pragma GCC unroll 24
    for (int j = 0; j < kSums; ++j) sum[j] = a;
    for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 24
      for (int j = 0; j < kSums; ++j) asm volatile("vfmadd231ps %2, %1, %0" : "+v"(sum[j]) : "v"(a), "v"(b));
    }
  });
  return 16.0 * 2 * kSums * kSteps / seconds * 1e-9;
}

}  // namespace fewbit
