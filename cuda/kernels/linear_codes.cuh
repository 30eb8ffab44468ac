// The linear layer on codes: bytes times packed weights on tensor cores, and all that follows it.
//
// A block has a tile of rows x outputs. Rows and weights of 64 * steps inputs at a time are copied to shared memory while the
// piece before is multiplied. A row of a piece is cut into chunks of 16 bytes; chunk c of row r lies at c ^ (r % 8), so that eight
// rows are read, and a row is written, without a conflict of banks.
#pragma once

#include "cuda/kernels/linear_finish.cuh"
#include "cuda/kernels/linear_weight.cuh"

namespace fewbit::cuda {

template <int kBits, int kFragments, int kRows, int kColumns, int kSlices>
class LinearBlock {
 public:
  static constexpr LinearTile kTile{kFragments, kRows, kColumns, kSlices};

  __device__ LinearBlock(const LinearCodesParams& params, uint8_t* shared)
      : p(params), memory(shared), base(shared_address(shared)), lane(threadIdx.x % 32), warp(threadIdx.x / 32) {}

  __device__ void run() {
    const int steps = (p.inputs + kStep - 1) / kStep, pieces = (steps + kSteps - 1) / kSteps;
    const int begin = pieces * blockIdx.z / gridDim.z, end = pieces * (blockIdx.z + 1) / gridDim.z;
    start(begin, steps);
    copy(0);
    for (int piece = begin; piece < end; ++piece) {
      const uint32_t here = (piece - begin) % 2 * kPiece;
      wait_for_copies();
      __syncthreads();
      const int left = steps - piece * kSteps;
      if (piece + 1 < end) copy(kPiece - here);
      if (piece == begin)
        multiply<true>(here, left);
      else
        multiply<false>(here, left);
    }
    finish();
  }

 private:
  static constexpr int kBlockRows = kTile.block_rows(), kXBytes = kTile.x_bytes(), kWarps = kTile.warps();
  static constexpr int kSteps = kTile.steps(), kDepth = kSteps * kStep, kThreads = kTile.threads();
  static constexpr int kChunks = kDepth / 16;            // of a row
  static constexpr int kRowsAtOnce = kThreads / kChunks;  // rows that all threads copy with one instruction
  static constexpr int kRowCopies = (kBlockRows + kRowsAtOnce - 1) / kRowsAtOnce;
  static constexpr int kSlab = slab_bytes(kBits), kSlabs = kColumns * kSlab;  // bytes of the weights of a step
  static constexpr int kSlabCopies = (kSlabs + 16 * kThreads - 1) / (16 * kThreads);
  static constexpr int kPiece = kTile.piece_bytes(kBits);
  static_assert(kRowsAtOnce % 8 == 0, "the rows of a thread have one place modulo 8");

  // Where this thread copies from and to.
  __device__ void start(int piece, int steps) {
    const int row = threadIdx.x / kChunks, chunk = threadIdx.x % kChunks;
    const int first = piece * kSteps;
    left_ = steps - first;
    x_target_ = base + row * kDepth + (chunk ^ row % 8) * 16;
    chunk_step_ = chunk / 4;
#pragma unroll
    for (int i = 0; i < kRowCopies; ++i) {
      const int r = min(int(blockIdx.x) * kBlockRows + row + i * kRowsAtOnce, p.rows - 1);
      x_source_[i] = (p.image_rows == p.rows ? p.x.at(0, r) : row_of(p.x, r, p.image_rows)) + first * kStep + chunk * 16;
    }
    const int groups = (p.outputs + kGroup - 1) / kGroup;
    weight_step_ = groups * kSlab;
    weight_target_ = base + kXBytes + threadIdx.x * 16;
    weight_source_ = p.weight + int64_t(first) * weight_step_ + int64_t(blockIdx.y) * kSlabs + threadIdx.x * 16;
  }

  // Begins to copy the next piece. Of the last one only the steps that there are.
  __device__ void copy(uint32_t to) {
    if (chunk_step_ < left_) {
      unroll<kRowCopies>([&](auto i) {
        if ((i + 1) * kRowsAtOnce <= kBlockRows || threadIdx.x / kChunks + i * kRowsAtOnce < kBlockRows)
          copy_async<i * kRowsAtOnce * kDepth>(x_target_ + to, x_source_[i]);
        x_source_[i] += kDepth;
      });
    }
    unroll<kSteps>([&](auto step) {
      if (step < left_) {
        unroll<kSlabCopies>([&](auto i) {
          constexpr int offset = i * 16 * kThreads;
          if (offset + 16 * kThreads <= kSlabs || offset + threadIdx.x * 16 < kSlabs)
            copy_async<step * kSlabs + offset>(weight_target_ + to, weight_source_ + offset);
        });
      }
      weight_source_ += weight_step_;
    });
    left_ -= kSteps;
  }

  __device__ int slice() const { return kSlices == 1 ? 0 : warp / (kRows * kColumns); }
  __device__ int warp_column() const { return warp % kColumns; }
  __device__ int warp_row() const { return warp / kColumns % kRows; }

  // Adds the products of a piece; the first ones of all to the correction.
  template <bool first>
  __device__ void multiply(uint32_t piece, int left) {
    const int row = lane % 16, swizzle = row % 8 * 16, chunk = lane / 16 * 16;
    const uint32_t x = base + piece + (warp_row() * 16 * kFragments + row) * kDepth;
    const uint32_t weight = base + piece + kXBytes + warp_column() * kSlab;
#pragma unroll
    for (int i = 0; i < kSteps / kSlices; ++i) {
      const int step = i * kSlices + slice();
      if (step >= left) {
        if (first && i == 0) clear();
        return;
      }
      WeightFragments<kBits> fragments;
      fragments.load(weight + step * kSlabs, lane);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t from = x + ((step * kStep + half * 32 + chunk) ^ swizzle);
        uint32_t a[kFragments][4];
        unroll<kFragments>([&](auto m) { load_matrices<16 * m * kDepth>(from, a[m]); });
#pragma unroll
        for (int tile = 0; tile < 4; ++tile) {
          uint32_t b[2];
          fragments.operand(tile, half, b);
          if (first && i == 0 && half == 0) {
            int c[2];
            correction(tile, c);
#pragma unroll
            for (int m = 0; m < kFragments; ++m) multiply_u8_s8(sums[m][tile], a[m], b[0], b[1], c[0], c[1], c[0], c[1]);
          } else {
#pragma unroll
            for (int m = 0; m < kFragments; ++m) {
              int(&c)[4] = sums[m][tile];
              multiply_u8_s8(c, a[m], b[0], b[1], c[0], c[1], c[2], c[3]);
            }
          }
        }
      }
    }
  }

  // Of the two outputs of a thread in a fragment, as large as the sums. One warp of all slices brings it in.
  __device__ void correction(int tile, int (&c)[2]) const {
    const int output = columns().output(tile / 2) + tile % 2 * 2;
    const bool mine = slice() == 0 && blockIdx.z == 0 && output < p.outputs;
    const int2 loaded = mine ? *reinterpret_cast<const int2*>(p.correction + output) : make_int2(0, 0);
    c[0] = loaded.x << kShift, c[1] = loaded.y << kShift;
  }

  __device__ void clear() {
    for (auto& row : sums)
      for (auto& tile : row)
        for (int& each : tile) each = 0;
  }

  // A unit is what a thread has of eight rows: eight outputs of one row.
  static constexpr int kUnits = 2 * kFragments / kSlices;
  static_assert(kUnits * kSlices == 2 * kFragments, "every slice finishes as many rows");

  __device__ int group() const { return blockIdx.y * kColumns + warp_column(); }
  __device__ Columns columns() const { return Columns(p, group(), lane); }

  __device__ void finish() {
    int value[kUnits][8];
    __syncthreads();
    if constexpr (kSlices == 1) {
      for (int u = 0; u < kUnits; ++u)
        for (int i = 0; i < 8; ++i) value[u][i] = sums[u / 2][i / 2][u % 2 * 2 + i % 2];
    } else {
      add_slices(value);
      if (gridDim.z > 1 && !add_blocks(value)) return;
    }
    uint8_t* table = nullptr;
    if (p.encode.table && p.y_codes.data) {
      table = memory + kWarps * kStaging;
      share_table(p.encode.table, table);
      __syncthreads();
    }
    const int row = blockIdx.x * kBlockRows + warp_row() * 16 * kFragments + slice() * 8 * kUnits + lane / 4;
    if (!finishes_fast(p, group()))
      finish_slowly(row, value, table);
    else if (p.y_codes.data)
      finish_codes<kShift>(p, columns(), row, value);
    else
      finish_floats<kShift>(p, columns(), row, value);
  }

  // Every slice puts down its sums and takes those of its own rows from all.
  __device__ void add_slices(int (&value)[kUnits][8]) {
    constexpr int kSliceWarps = kRows * kColumns, kWarp = 4 * kFragments * 512;
    const uint32_t mine = base + warp * kWarp + lane * 16;
    unroll<4 * kFragments>([&](auto i) {
      const int(&tiles)[4][4] = sums[i / 4];
      constexpr int half = i / 2 % 2, run = i % 2;
      const int four[4] = {tiles[2 * run][2 * half], tiles[2 * run][2 * half + 1], tiles[2 * run + 1][2 * half], tiles[2 * run + 1][2 * half + 1]};
      store_shared<512 * i>(mine, four);
    });
    __syncthreads();
    const uint32_t rows = base + warp % kSliceWarps * kWarp + slice() * kUnits * 1024 + lane * 16;
    unroll<2 * kUnits>([&](auto i) {
      unroll<kSlices>([&](auto s) {
        uint32_t four[4];
        load_shared<s * kSliceWarps * kWarp + 512 * i>(rows, four);
        for (int j = 0; j < 4; ++j) {
          int& sum = value[i / 2][i % 2 * 4 + j];
          sum = s == 0 ? int(four[j]) : sum + int(four[j]);
        }
      });
    });
    __syncthreads();
  }

  // The same over blocks that have different inputs of one tile, through global memory. The last of them to come goes on.
  __device__ bool add_blocks(int (&value)[kUnits][8]) {
    const int tile = blockIdx.y * gridDim.x + blockIdx.x;
    auto* sums_of = reinterpret_cast<int4*>(p.workspace) + int64_t(tile) * gridDim.z * kUnits * 2 * kThreads + threadIdx.x;
    int4* mine = sums_of + int64_t(blockIdx.z) * kUnits * 2 * kThreads;
    for (int i = 0; i < 2 * kUnits; ++i) {
      const int* four = &value[i / 2][i % 2 * 4];
      mine[i * kThreads] = make_int4(four[0], four[1], four[2], four[3]);
    }
    __threadfence();
    __syncthreads();
    auto* ticket = reinterpret_cast<unsigned*>(memory);
    if (threadIdx.x == 0) *ticket = atomicAdd(p.counters + tile, 1u);
    __syncthreads();
    if (*ticket != gridDim.z - 1) return false;
    __syncthreads();
    __threadfence();
    for (int z = 0; z < int(gridDim.z); ++z) {
      if (z == int(blockIdx.z)) continue;
      const int4* other = sums_of + int64_t(z) * kUnits * 2 * kThreads;
#pragma unroll
      for (int i = 0; i < 2 * kUnits; ++i) {
        const int4 four = __ldcg(other + i * kThreads);
        int* sum = &value[i / 2][i % 2 * 4];
        sum[0] += four.x, sum[1] += four.y, sum[2] += four.z, sum[3] += four.w;
      }
    }
    if (threadIdx.x == 0) p.counters[tile] = 0;
    return true;
  }

  // Unit after unit through shared memory, so that there is little code.
  __device__ void finish_slowly(int row, const int (&value)[kUnits][8], const uint8_t* table) {
    auto* stage = reinterpret_cast<int4*>(memory + warp * kStaging) + lane;
#pragma unroll 1
    for (int u = 0; u < kUnits && row + 8 * u < p.rows; ++u) {
#pragma unroll
      for (int i = 0; i < kUnits; ++i)
        if (i == u) {
          stage[0] = make_int4(value[i][0], value[i][1], value[i][2], value[i][3]);
          stage[32] = make_int4(value[i][4], value[i][5], value[i][6], value[i][7]);
        }
#pragma unroll 1
      for (int run = 0; run < 2; ++run) {
        const int output = columns().output(run);
        if (output < p.outputs) finish_any<kShift>(p, row + 8 * u, output, stage[32 * run], table);
      }
    }
  }

  static constexpr int kShift = WeightFragments<kBits>::kShift;
  static constexpr int kStaging = 1024;  // bytes of a unit of a warp

  const LinearCodesParams& p;
  uint8_t* const memory;
  const uint32_t base;
  const int lane, warp;
  int sums[kFragments][4][4];

  int left_, chunk_step_, weight_step_;
  uint32_t x_target_, weight_target_;
  const uint8_t* x_source_[kRowCopies];
  const uint8_t* weight_source_;
};

}  // namespace fewbit::cuda

// Defines the kernel fewbit_linear_codes_w<bits>_<fragments>x<rows>x<columns>x<slices>.
#define FEWBIT_LINEAR_CODES(bits, fragments, rows, columns, slices)                                                           \
  extern "C" __global__ void __launch_bounds__(32 * rows * columns * slices)                                                  \
      fewbit_linear_codes_w##bits##_##fragments##x##rows##x##columns##x##slices(const fewbit::cuda::LinearCodesParams p) {    \
    extern __shared__ __align__(128) uint8_t shared[];                                                                       \
    fewbit::cuda::LinearBlock<bits, fragments, rows, columns, slices>(p, shared).run();                                       \
  }
