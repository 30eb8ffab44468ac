#include "cpu/implementations.h"
#include "cpu/simd_avx512.h"

#include "cpu/patchify_simd.h"

namespace fewbit {

void patchify_avx512(const Patchify& op, int task, void*) { patchify(op, task); }

}  // namespace fewbit
