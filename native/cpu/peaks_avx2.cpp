#include <immintrin.h>

#include "cpu/peaks.h"

namespace fewbit {
namespace {

constexpr int kSums = 12;  // more than latency times throughput of any core, and with the operands all sixteen registers
constexpr int kSteps = 4000;
constexpr int kRuns = 300;

// Sums of four products in three instructions.
inline __m256i dot(__m256i sum, __m256i a, __m256i b) {
#ifdef __GNUC__
  __m256i pairs;
  asm volatile(
      "vpmaddubsw %3, %2, %1\n\t"
      "vpmaddwd %3, %1, %1\n\t"
      "vpaddd %1, %0, %0"
      : "+x"(sum), "=&x"(pairs)
      : "x"(a), "x"(b));
  return sum;
#else
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), b));
#endif
}

inline __m256 multiply_add(__m256 sum, __m256 a, __m256 b) {
#ifdef __GNUC__
  asm volatile("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
  return sum;
#else
  return _mm256_fmadd_ps(a, b, sum);
#endif
}

// Seconds that kSums independent chains of kSteps steps take.
template <class Vector, class Step>
double seconds_of(Vector a, Step step) {
  return shortest_run(kRuns, [&] {
    Vector sum[kSums];
#pragma GCC unroll 12
    for (int j = 0; j < kSums; ++j) sum[j] = a;
    for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
      for (int j = 0; j < kSums; ++j) sum[j] = step(sum[j], a, a);
    }
    volatile Vector kept = sum[0];
    (void)kept;
  });
}

}  // namespace

Peaks peaks_avx2() {
  constexpr double kInstructions = double(kSums) * kSteps;
  return {2 * 32 * kInstructions / seconds_of(_mm256_set1_epi16(1), dot),
          2 * 8 * kInstructions / seconds_of(_mm256_set1_ps(0.5f), multiply_add)};
}

}  // namespace fewbit
