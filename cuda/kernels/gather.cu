// Rows put together from other rows, bytes as they are: a warp has a row of y.
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/gather.h"

namespace fewbit::cuda {
namespace {

__device__ void fill(uint8_t byte, uint8_t* vector) { *vector = byte; }
__device__ void fill(uint8_t byte, uint32_t* vector) { *vector = 0x01010101u * byte; }
__device__ void fill(uint8_t byte, uint4* vector) {
  const uint32_t word = 0x01010101u * byte;
  *vector = make_uint4(word, word, word, word);
}

template <int bytes>
__device__ void gather(const GatherParams& p) {
  using Vector = typename Bytes<bytes>::type;
  const int line = blockIdx.x * blockDim.y + threadIdx.y;
  const int image = line / p.count, r = line % p.count;
  if (image >= p.images) return;
  const int part_vectors = p.part_bytes / bytes;
  Vector* y = reinterpret_cast<Vector*>(p.y.at(image, r));
#pragma unroll 1
  for (int i = threadIdx.x; i < p.parts * part_vectors; i += 32) {
    const int row = p.rows ? p.rows[static_cast<long long>(r) * p.parts + i / part_vectors] : r;
    Vector value;
    if (row < 0)
      fill(p.zero, &value);
    else
      value = reinterpret_cast<const Vector*>(p.x.at(image, row))[i % part_vectors];
    y[i] = value;
  }
}

}  // namespace
}  // namespace fewbit::cuda

using fewbit::cuda::GatherParams;

extern "C" __global__ void __launch_bounds__(256) fewbit_gather_16(const GatherParams p) { fewbit::cuda::gather<16>(p); }
extern "C" __global__ void __launch_bounds__(256) fewbit_gather_4(const GatherParams p) { fewbit::cuda::gather<4>(p); }
extern "C" __global__ void __launch_bounds__(256) fewbit_gather_1(const GatherParams p) { fewbit::cuda::gather<1>(p); }
