#include "cpu/implementations.h"
#include "cpu/simd_avx2.h"

#include "cpu/patchify_simd.h"

namespace fewbit {

void patchify_avx2(const Patchify& op, int task, void*) { patchify(op, task); }

}  // namespace fewbit
