// The linear layer on codes: bytes times packed weights on tensor cores, and all that follows it.
//
// A block has a tile of rows x outputs. Rows and weights of 64 * steps inputs at a time are copied to shared memory while the
// piece before is multiplied. A row of a piece is cut into chunks of 16 bytes; chunk c of row r lies at c ^ (r % 8), so that
// eight rows are read, and a row is written, without a conflict of banks.
#pragma once

#include "cuda/kernels/linear_any.cuh"
#include "cuda/kernels/linear_weight.cuh"

namespace fewbit::cuda {

// kNative: x is codes of 16 levels and the product is one of nibbles.
template <int kBits, bool kNative, int kFragments, int kRows, int kColumns, int kSlices>
class LinearBlock {
 public:
  static constexpr LinearTile kTile{kFragments, kRows, kColumns, kSlices};

  __device__ LinearBlock(const LinearCodesParams& params, uint8_t* shared)
      : p(params), memory(shared), base(shared_address(shared)), lane(threadIdx.x), thread(threadIdx.x + 32 * warp()) {}

  __device__ void run() {
    const int steps = unsigned(p.inputs + kStep - 1) / kStep;
    int begin = 0, end = unsigned(steps + kSteps - 1) / kSteps;
    if (kSlices > 1 && gridDim.z > 1) begin = end * blockIdx.z / gridDim.z, end = end * (blockIdx.z + 1) / gridDim.z;
    int left = steps - begin * kSteps;
    // The last block of outputs may have more warps than groups; those only copy.
    const bool works = kGroup * group() < p.outputs;
    start(begin);
    copy<0>(left);
    wait_for_copies();
    __syncthreads();
    if (begin + 1 < end) copy<1>(left - kSteps);
    if (works) multiply<true>(left);
    for (int piece = begin + 1; piece < end; ++piece) {
      left -= kSteps;
      wait_for_copies();
      __syncthreads();
      if (piece + 1 < end) {
        for (auto& each : x_source_) each += kDepth;
        copy<1>(left - kSteps);
      }
      if (works) multiply<false>(left);
    }
    finish();
  }

 private:
  static constexpr int kBlockRows = kTile.block_rows(), kXBytes = kTile.x_bytes(), kWarps = kTile.warps();
  static constexpr int kSteps = kTile.steps(), kDepth = kSteps * kStep, kThreads = kTile.threads();
  static constexpr int kOwnSteps = kSteps / kSlices;      // of a piece that a warp multiplies
  static constexpr int kChunks = kDepth / 16;             // of a row
  static constexpr int kRowsAtOnce = kThreads / kChunks;  // rows that all threads copy with one instruction
  static constexpr int kRowCopies = (kBlockRows + kRowsAtOnce - 1) / kRowsAtOnce;
  static constexpr int kSlab = slab_bytes(kBits), kSlabs = kColumns * kSlab;  // bytes of the weights of a step
  static constexpr int kSlabCopies = (kSlabs + 16 * kThreads - 1) / (16 * kThreads);
  static constexpr int kPiece = kTile.piece_bytes(kBits);
  static_assert(kRowsAtOnce % 8 == 0, "the rows of a thread have one place modulo 8");

  // Addresses of the first piece. They are variables of the loop, and not computed anew for every piece.
  __device__ void start(int piece) {
    const unsigned row = thread / kChunks, chunk = thread % kChunks;
    const int first = blockIdx.x * kBlockRows + row;
    x_target_ = base + row * kDepth + (chunk ^ row % 8) * 16;
    const uint8_t* x = p.x.data + piece * kDepth + chunk * 16;
    if (p.image_rows == p.rows) {
#pragma unroll
      for (int i = 0; i < kRowCopies; ++i) x_source_[i] = advance(x, min(first + i * kRowsAtOnce, p.rows - 1), p.x_stride);
    } else {
#pragma unroll
      for (int i = 0; i < kRowCopies; ++i)
        x_source_[i] = x + (row_of(p.x, min(first + i * kRowsAtOnce, p.rows - 1), p.image_rows) - p.x.data);
    }
    weight_target_ = base + kXBytes + thread * 16;
    weight_source_ = p.weight + int64_t(piece * kSteps) * p.weight_step + (blockIdx.y * kSlabs + thread * 16);
    other_ = other_target_ = kPiece;

    const unsigned own = lane % 16, swizzle = own % 8 * 16, half = lane / 16 * 16;
#pragma unroll
    for (int i = 0; i < 2 * kOwnSteps; ++i)
      x_[i] = base + (warp_row() * 16 * kFragments + own) * kDepth +
              (((i / 2 * kSlices + slice()) * kStep + i % 2 * 32 + half) ^ swizzle);
    weight_ = base + kXBytes + slice() * kSlabs + warp_column() * kSlab + 16 * lane;
    keep(x_target_), keep(weight_target_), keep(weight_);
    for (uint32_t& each : x_) keep(each);
  }

  // Begins to copy the next piece, of the last one only the steps that are left. ahead: how many pieces x_source_ is behind.
  template <int ahead>
  __device__ void copy(int left) {
    if (left >= kSteps)
      copy_steps<ahead, true>(left);
    else
      copy_steps<ahead, false>(left);
    x_target_ += other_target_, weight_target_ += other_target_;
    other_target_ = -other_target_;
  }
  template <int ahead, bool whole>
  __device__ void copy_steps(int left) {
    if (whole || int(thread % kChunks / 4) < left) {
      unroll<kRowCopies>([&](auto i) {
        if ((i + 1) * kRowsAtOnce <= kBlockRows || thread < (kBlockRows - i * kRowsAtOnce) * kChunks)
          copy_async<i * kRowsAtOnce * kDepth, ahead * kDepth>(x_target_, x_source_[i]);
      });
    }
    unroll<kSteps>([&](auto step) {
      if (whole || step < left) {
        unroll<kSlabCopies>([&](auto i) {
          constexpr int offset = i * 16 * kThreads;
          if (offset + 16 * kThreads <= kSlabs || thread < (kSlabs - offset) / 16)
            copy_async<step * kSlabs + offset, offset>(weight_target_, weight_source_);
        });
      }
      weight_source_ += p.weight_step;
    });
  }

  __device__ static unsigned warp() { return threadIdx.y + kColumns * threadIdx.z; }
  __device__ static unsigned warp_column() { return threadIdx.y; }
  __device__ static unsigned warp_row() { return kRows == 1 ? 0 : kSlices == 1 ? threadIdx.z : threadIdx.z % kRows; }
  __device__ static unsigned slice() { return kSlices == 1 ? 0 : threadIdx.z / kRows; }

  // Adds the products of a piece; the first ones of all to the correction.
  template <bool first>
  __device__ void multiply(int left) {
#pragma unroll
    for (int i = 0; i < kOwnSteps; ++i) {
      // There is a step for every slice in the first piece: the host sees to that.
      if (!(first && i == 0) && (kSlices > 1 || i > 0) && int(i * kSlices + slice()) >= left) break;
      WeightFragments<kBits> fragments;
      fragments.load(weight_ + i * kSlices * kSlabs, lane);
      int c[8];
      if (first && i == 0) correction(c);
      if constexpr (kNative) {
        if (first && i == 0)
          multiply_nibbles<true>(i, fragments, c);
        else
          multiply_nibbles<false>(i, fragments, c);
      } else {
        if (first && i == 0)
          multiply_bytes<true>(i, 0, fragments, c);
        else
          multiply_bytes<false>(i, 0, fragments, c);
        multiply_bytes<false>(i, 1, fragments, c);
      }
    }
    for (uint32_t& each : x_) each += other_;
    weight_ += other_;
    other_ = -other_;
  }

  // Half of the inputs of a step.
  template <bool first>
  __device__ void multiply_bytes(int step, int half, const WeightFragments<kBits>& fragments, const int (&c)[8]) {
    uint32_t a[kFragments][4];
    unroll<kFragments>([&](auto m) { load_matrices<16 * m * kDepth>(x_[2 * step + half], a[m]); });
#pragma unroll
    for (int tile = 0; tile < 4; ++tile) {
      uint32_t b[2];
      fragments.operand(tile, half, b);
#pragma unroll
      for (int m = 0; m < kFragments; ++m) {
        int(&sum)[4] = sums[m][tile];
        if (first)
          multiply_u8_s8(sum, a[m], b[0], b[1], c[2 * tile], c[2 * tile + 1], c[2 * tile], c[2 * tile + 1]);
        else
          multiply_u8_s8(sum, a[m], b[0], b[1], sum[0], sum[1], sum[2], sum[3]);
      }
    }
  }

  // A step. Bytes of x become nibbles above their lowest one; those of the inputs 16 further on are the high halves, as in
  // weights.
  template <bool first>
  __device__ void multiply_nibbles(int step, const WeightFragments<kBits>& fragments, const int (&c)[8]) {
    const uint32_t lowest = p.x_low * 0x01010101u;
    uint32_t a[kFragments][4];
    unroll<kFragments>([&](auto m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t bytes[4];
        load_matrices<16 * m * kDepth>(x_[2 * step + half], bytes);
#pragma unroll
        for (int i = 0; i < 2; ++i)
          a[m][2 * half + i] = select_bits(0x0F0F0F0Fu, bytes[i] - lowest, (bytes[i + 2] - lowest) << 4);
      }
    });
#pragma unroll
    for (int tile = 0; tile < 4; ++tile) {
      const uint32_t b0 = fragments.word(tile, 0), b1 = fragments.word(tile, 1);
#pragma unroll
      for (int m = 0; m < kFragments; ++m) {
        int(&sum)[4] = sums[m][tile];
        if (first)
          multiply_u4_s4(sum, a[m], b0, b1, c[2 * tile], c[2 * tile + 1], c[2 * tile], c[2 * tile + 1]);
        else
          multiply_u4_s4(sum, a[m], b0, b1, sum[0], sum[1], sum[2], sum[3]);
      }
    }
  }

  // Of the outputs of a thread, as large as the sums. One warp of all slices brings it in.
  __device__ void correction(int (&c)[8]) const {
    const bool mine = kSlices == 1 || (slice() == 0 && blockIdx.z == 0);
#pragma unroll
    for (int run = 0; run < 2; ++run) {
      // Outputs that are not there get those of others.
      const int output = min(columns().output(run), (p.outputs - 1) & ~3);
      int4 loaded = *reinterpret_cast<const int4*>(p.correction + output);
      if (!mine) loaded = make_int4(0, 0, 0, 0);
      const int four[4] = {loaded.x, loaded.y, loaded.z, loaded.w};
      // The correction is -128 times the sum of the weights, or 0; x without its lowest byte lacks that many of them.
#pragma unroll
      for (int i = 0; i < 4; ++i) c[4 * run + i] = kNative ? four[i] - p.x_low * (four[i] >> 7) : four[i] << kShift;
    }
  }

  // A unit is what a thread has of eight rows: eight outputs of one row.
  static constexpr int kUnits = 2 * kFragments / kSlices;
  static_assert(kUnits * kSlices == 2 * kFragments, "every slice finishes as many rows");

  __device__ static int group() { return blockIdx.y * kColumns + warp_column(); }
  __device__ Columns columns() const { return Columns(p, group(), lane); }

  __device__ void finish() {
    int value[kUnits][8];
    const bool stages = p.finish == LinearFinish::any || p.finish == LinearFinish::table;
    if (kSlices > 1 || stages) __syncthreads();
    if constexpr (kSlices == 1) {
      for (int u = 0; u < kUnits; ++u)
        for (int i = 0; i < 8; ++i) value[u][i] = sums[u / 2][i / 2][u % 2 * 2 + i % 2];
    } else {
      add_slices(value);
      if (gridDim.z > 1 && !add_blocks(value)) return;
    }
    const int part = p.part_outputs ? unsigned(kGroup * group()) / unsigned(p.part_outputs) : 0;
    uint32_t copies = 0;
    if (stages && p.encode.table && p.y_codes.data) {
      const int parts = p.part_outputs ? p.outputs / p.part_outputs : 1;
      uint8_t* tables = memory + kWarps * kFinishStage;
      for (int i = 0; i < parts; ++i) share_table(p.encode.table + i * kEncodeTable, tables + i * kSharedTable, thread, kThreads);
      __syncthreads();
      copies = shared_address(tables) + part * kSharedTable + 4 * lane;
    }
    if (kGroup * group() >= p.outputs) return;
    const int first_row = blockIdx.x * kBlockRows + warp_row() * 16 * kFragments + slice() * 8 * kUnits;
    const int row = first_row + lane / 4;
    if (p.finish == LinearFinish::codes)
      finish_codes<kShift, false>(p, columns(), part, row, value);
    else if (p.finish == LinearFinish::table)
      finish_codes<kShift, true>(p, columns(), part, row, value, copies);
    else if (p.finish == LinearFinish::floats)
      finish_floats<kShift>(p, columns(), row, value);
    else
      finish_any(first_row, value, copies);
  }

  // Every slice puts down its sums and takes those of its own rows from all.
  __device__ void add_slices(int (&value)[kUnits][8]) {
    constexpr int kSliceWarps = kRows * kColumns, kWarp = 4 * kFragments * 512;
    const uint32_t mine = base + warp() * kWarp + lane * 16;
    unroll<4 * kFragments>([&](auto i) {
      const int(&tiles)[4][4] = sums[i / 4];
      constexpr int half = i / 2 % 2, run = i % 2;
      const int four[4] = {tiles[2 * run][2 * half], tiles[2 * run][2 * half + 1], tiles[2 * run + 1][2 * half],
                           tiles[2 * run + 1][2 * half + 1]};
      store_shared<512 * i>(mine, four);
    });
    __syncthreads();
    const uint32_t rows = base + warp() % kSliceWarps * kWarp + slice() * kUnits * 1024 + lane * 16;
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
    auto* sums_of = reinterpret_cast<int4*>(p.workspace) + int64_t(tile) * gridDim.z * kUnits * 2 * kThreads + thread;
    int4* mine = sums_of + int64_t(blockIdx.z) * kUnits * 2 * kThreads;
    for (int i = 0; i < 2 * kUnits; ++i) {
      const int* four = &value[i / 2][i % 2 * 4];
      mine[i * kThreads] = make_int4(four[0], four[1], four[2], four[3]);
    }
    __threadfence();
    __syncthreads();
    auto* ticket = reinterpret_cast<unsigned*>(memory);
    if (thread == 0) *ticket = atomicAdd(p.counters + tile, 1u);
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
    if (thread == 0) p.counters[tile] = 0;
    return true;
  }

  // Unit after unit.
  __device__ void finish_any(int first_row, const int (&value)[kUnits][8], uint32_t copies) {
    const AnyFinish<kShift> any(p, group(), memory + warp() * kFinishStage, copies);
#pragma unroll 1
    for (int u = 0; u < kUnits && first_row + 8 * u < p.rows; ++u) {
#pragma unroll
      for (int i = 0; i < kUnits; ++i)
        if (i == u) any.put(value[i]);
      any.unit(first_row + 8 * u);
    }
  }

  static constexpr int kShift = kNative ? 0 : WeightFragments<kBits>::kShift;

  const LinearCodesParams& p;
  uint8_t* const memory;
  const uint32_t base;
  const unsigned lane, thread;
  int sums[kFragments][4][4];

  uint32_t x_target_, weight_target_, x_[2 * kOwnSteps], weight_;
  uint32_t other_, other_target_;  // from this piece in shared memory to the other
  const uint8_t* x_source_[kRowCopies];
  const uint8_t* weight_source_;
};

}  // namespace fewbit::cuda

// Defines the kernel fewbit_linear_codes_<kind>_<fragments>x<rows>x<columns>x<slices>. Kernels with slices are for few blocks:
// one on a multiprocessor is enough, so that registers are not saved to the point of spills.
#define FEWBIT_LINEAR_KERNEL(kind, bits, native, fragments, rows, columns, slices)                                        \
  extern "C" __global__ void __launch_bounds__(32 * rows * columns * slices, slices > 1)                                  \
      fewbit_linear_codes_##kind##_##fragments##x##rows##x##columns##x##slices(const fewbit::cuda::LinearCodesParams p) { \
    extern __shared__ __align__(128) uint8_t shared[];                                                                    \
    fewbit::cuda::LinearBlock<bits, native, fragments, rows, columns, slices>(p, shared).run();                           \
  }
#define FEWBIT_LINEAR_CODES(bits, fragments, rows, columns, slices) \
  FEWBIT_LINEAR_KERNEL(w##bits, bits, false, fragments, rows, columns, slices)
