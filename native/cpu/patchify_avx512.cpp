#include "cpu/implementations.h"
#include "cpu/simd_avx512.h"

namespace fewbit {
namespace {

// 64 pixels to bytes; y is aligned.
inline void encode64(const EncoderF32x16& encode, const float* x, uint8_t* y) {
  _mm512_store_si512(y, encode(load(x), load(x + 16), load(x + 32), load(x + 48)));
}

}  // namespace
}  // namespace fewbit

#include "cpu/patchify_simd.h"

namespace fewbit {

void patchify_avx512(const Patchify& op, int task, void*) { patchify(op, task); }

}  // namespace fewbit
