#include "cpu/implementations.h"
#include "cpu/simd_avx2.h"

namespace fewbit {
namespace {

// 64 pixels to bytes; y is aligned.
inline void encode64(const EncoderF32x16& encode, const float* x, uint8_t* y) {
  for (int i = 0; i < 64; i += 16) _mm_store_si128(reinterpret_cast<__m128i*>(y + i), encode(load(x + i)));
}

}  // namespace
}  // namespace fewbit

#include "cpu/patchify_simd.h"

namespace fewbit {

void patchify_avx2(const Patchify& op, int task, void*) { patchify(op, task); }

}  // namespace fewbit
