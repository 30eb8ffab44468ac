#include "cuda/kernels/linear_codes.cuh"

FEWBIT_LINEAR_TILES(FEWBIT_LINEAR_CODES, 8)
