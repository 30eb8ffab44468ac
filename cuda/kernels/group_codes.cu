// Codes of groups of channels, packed to their widths and back. A block has 4096 consecutive values of one group: as bytes they
// are read and written along the channels, as bits in whole words, and they change places in shared memory. 4096 values of any
// width are whole words, so blocks share none.
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/group_codes.h"

namespace fewbit::cuda {
namespace {

constexpr int kValues = kGroupValues, kThreads = kGroupThreads;

// The values of a block: `count` of them, from value `first` of a group of an image.
struct Tile {
  CodeGroup group;
  int image, count;
  long long first;
  uint32_t* words;
  bool vectors;  // four values lie side by side, at a multiple of four bytes

  __device__ Tile(const GroupCodesParams& p) : group(p.group[blockIdx.y]) {
    const int tiles = gridDim.x / p.images;
    image = blockIdx.x / tiles;
    first = static_cast<long long>(blockIdx.x % tiles) * kValues;
    const long long left = static_cast<long long>(p.pixels) * group.count - first;
    count = int(left < kValues ? left : kValues);  // none or less: this group has fewer tiles than another
    words = reinterpret_cast<uint32_t*>(p.packed + image * p.image_bytes + group.offset) + first / 32 * group.bits;
    const uint64_t place = reinterpret_cast<uint64_t>(p.codes.data) | p.codes.stride | p.codes.image_stride;
    vectors = ((place | group.first | group.count) & 3) == 0;
  }

  // Words of the values, with the padding to 16 bytes behind the last.
  __device__ int word_count() const { return (count * group.bits + 127) / 128 * 4; }
  __device__ uint8_t* code(const GroupCodesParams& p, int i) const {
    const long long value = first + i;
    return p.codes.at(image, int(value / group.count)) + group.first + value % group.count;
  }
};

// Where value i of a block lies in shared memory: a bank further on every 128 bytes, so that threads that take every eighth or
// sixteenth byte meet in none.
__device__ int place(int i) { return i + i / 128 * 4; }

// body(i, code) for the values of a block in no order. What a warp takes at once lies in one row of codes and begins with a
// sector.
template <class Body>
__device__ void each_code(const GroupCodesParams& p, const Tile& tile, Body body) {
  const int count = tile.group.count, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const long long last = (tile.first + tile.count - 1) / count;
  for (long long pixel = tile.first / count + warp; pixel <= last; pixel += kThreads / 32) {
    uint8_t* row = p.codes.at(tile.image, int(pixel)) + tile.group.first;
    const long long first = pixel * count - tile.first;
    // As often for all threads, which stay together.
    for (int begin = -int(reinterpret_cast<uint64_t>(row) % 32); begin < count; begin += 32) {
      const int c = begin + lane;
      const long long i = first + c;
      if (c >= 0 && c < count && i >= 0 && i < tile.count) body(int(i), row + c);
    }
  }
}

}  // namespace
}  // namespace fewbit::cuda

extern "C" __global__ void __launch_bounds__(128) fewbit_pack_groups(const fewbit::cuda::GroupCodesParams p) {
  using namespace fewbit::cuda;
  // Beyond the values: what the last word of a narrow width looks at.
  __shared__ __align__(16) uint8_t codes[kValues / 128 * 132 + 132];
  const Tile tile(p);
  if (tile.count <= 0) return;
  if (tile.vectors)
    for (int i = 4 * threadIdx.x; i < tile.count; i += 4 * kThreads)
      *reinterpret_cast<uint32_t*>(codes + place(i)) = *reinterpret_cast<const uint32_t*>(tile.code(p, i));
  else
    each_code(p, tile, [&](int i, const uint8_t* code) { codes[place(i)] = *code; });
  for (int i = tile.count + threadIdx.x; i < (tile.count + 255) / 128 * 128 && i < kValues + 128; i += kThreads)
    codes[place(i)] = 0;
  __syncthreads();
  const int bits = tile.group.bits;
  const uint32_t mask = (1u << bits) - 1;
  for (int word = threadIdx.x; word < tile.word_count(); word += kThreads) {
    // The first value that has a bit in this word may begin before it.
    int value = 32 * word / bits, shift = value * bits - 32 * word;
    uint32_t packed = (codes[place(value)] & mask) >> -shift;
    for (shift += bits; shift < 32; shift += bits) packed |= (codes[place(++value)] & mask) << shift;
    tile.words[word] = packed;
  }
}

extern "C" __global__ void __launch_bounds__(128) fewbit_unpack_groups(const fewbit::cuda::GroupCodesParams p) {
  using namespace fewbit::cuda;
  __shared__ uint32_t words[kValues / 4 + 1];
  const Tile tile(p);
  if (tile.count <= 0) return;
  const int count = tile.word_count();
  for (int word = threadIdx.x; word < count; word += kThreads) words[word] = tile.words[word];
  if (threadIdx.x == 0) words[count] = 0;
  __syncthreads();
  const int bits = tile.group.bits;
  const uint32_t mask = (1u << bits) - 1;
  const auto decode = [&](int value) {
    const int bit = value * bits;
    return __funnelshift_r(words[bit / 32], words[bit / 32 + 1], bit % 32) & mask;
  };
  if (tile.vectors) {
    for (int i = 4 * threadIdx.x; i < tile.count; i += 4 * kThreads) {
      const uint32_t four = decode(i) | decode(i + 1) << 8 | decode(i + 2) << 16 | decode(i + 3) << 24;
      *reinterpret_cast<uint32_t*>(tile.code(p, i)) = four;
    }
  } else {
    each_code(p, tile, [&](int i, uint8_t* code) { *code = static_cast<uint8_t>(decode(i)); });
  }
}
