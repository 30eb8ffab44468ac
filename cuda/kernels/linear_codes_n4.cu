// Products of nibbles. From compute capability 9 on they are emulated, and bytes are faster: there these kernels are empty.
#include "cuda/kernels/linear_codes.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define FEWBIT_LINEAR_NIBBLES(bits, fragments, rows, columns, slices)                                   \
  extern "C" __global__ void fewbit_linear_codes_n##bits##_##fragments##x##rows##x##columns##x##slices( \
      const fewbit::cuda::LinearCodesParams) {                                                          \
    __trap();                                                                                           \
  }
#else
#define FEWBIT_LINEAR_NIBBLES(bits, fragments, rows, columns, slices) \
  FEWBIT_LINEAR_KERNEL(n##bits, bits, true, fragments, rows, columns, slices)
#endif

FEWBIT_LINEAR_TILES(FEWBIT_LINEAR_NIBBLES, 4)
