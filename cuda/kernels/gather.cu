// Rows put together from other rows, bytes as they are: a thread has one vector of a row of y.
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
  const int part_vectors = p.part_bytes / bytes;
  long long thread = static_cast<long long>(blockIdx.x) * kGatherThreads + threadIdx.x;
  const int vector = int(thread % part_vectors);
  thread /= part_vectors;
  const int part = int(thread % p.parts);
  thread /= p.parts;
  const int r = int(thread % p.count), image = int(thread / p.count);
  if (image >= p.images) return;
  const int row = p.rows ? p.rows[static_cast<long long>(r) * p.parts + part] : r;
  Vector value;
  if (row < 0)
    fill(p.zero, &value);
  else
    value = reinterpret_cast<const Vector*>(p.x.at(image, row))[vector];
  reinterpret_cast<Vector*>(p.y.at(image, r))[static_cast<long long>(part) * part_vectors + vector] = value;
}

}  // namespace
}  // namespace fewbit::cuda

using fewbit::cuda::GatherParams;

extern "C" __global__ void __launch_bounds__(256) fewbit_gather_16(const GatherParams p) { fewbit::cuda::gather<16>(p); }
extern "C" __global__ void __launch_bounds__(256) fewbit_gather_4(const GatherParams p) { fewbit::cuda::gather<4>(p); }
extern "C" __global__ void __launch_bounds__(256) fewbit_gather_1(const GatherParams p) { fewbit::cuda::gather<1>(p); }
