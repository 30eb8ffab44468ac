#include "cpu/peaks_avx2.h"

namespace fewbit {
namespace {

inline void dot(__m256i& sum, const __m256i& a) {
#ifdef __GNUC__
  asm volatile("%{vex%} vpdpbusd %1, %1, %0" : "+x"(sum) : "x"(a));
#else
  sum = _mm256_dpbusd_avx_epi32(sum, a, a);
#endif
}

}  // namespace

Peaks peaks_avxvnni() { return peaks_of<dot>(); }

}  // namespace fewbit
