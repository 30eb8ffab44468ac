#include "cpu/peaks_avx2.h"

namespace fewbit {
namespace {

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

}  // namespace

Peaks peaks_avx2() { return peaks_of<dot>(); }

}  // namespace fewbit
