// What follows the integer product of a linear layer, whatever it is. Eight rows of a warp at a time go through shared memory, so
// that there is little code, and so that residuals and results are read and written as they lie in rows, whole or not.
#pragma once

#include "cuda/kernels/linear_finish.cuh"

namespace fewbit::cuda {

// A unit is 8 rows x 32 outputs. Thread i has 8 outputs of row i / 4, as two runs of four (Columns); what belongs to run j of it
// lies in slot 32 j + i.
template <int shift>
class AnyFinish {
 public:
  // stage: kFinishStage bytes of this warp. copies: see look_up, or 0 without a table.
  __device__ AnyFinish(const LinearCodesParams& params, unsigned group, uint8_t* stage, uint32_t copies)
      : p(params),
        lane(threadIdx.x),
        columns(p, group, lane),
        first_output(kGroup * group),
        count(min(p.outputs - first_output, kGroup)),
        sums(reinterpret_cast<int4*>(stage)),
        operands(stage + kGroup * 8 * 4),
        bytes(reinterpret_cast<uint32_t*>(stage + 2 * kGroup * 8 * 4)),
        copies(copies) {}

  // Of this thread, before unit().
  __device__ void put(const int (&value)[8]) const {
    sums[lane] = make_int4(value[0], value[1], value[2], value[3]);
    sums[32 + lane] = make_int4(value[4], value[5], value[6], value[7]);
  }

  // first_row: of the unit.
  __device__ void unit(int first_row) const {
    const int rows = min(p.rows - first_row, 8);
    if (p.residual.data) fetch(p.residual, first_row, rows, reinterpret_cast<float*>(operands));
    if (p.residual_codes.data) fetch(p.residual_codes, first_row, rows, operands);
    __syncwarp();
    const bool fine = is_fine(p.encode, first_row + lane / 4);
#pragma unroll 1
    for (int run = 0; run < 2; ++run)
      if (int(lane / 4) < rows && columns.output(run) < p.outputs) finish(run, fine ? 0 : copies);
    __syncwarp();
    if (p.y_float.data)
      write(p.y_float, first_row, rows, reinterpret_cast<const float*>(sums));
    else
      write(p.y_codes, first_row, rows, reinterpret_cast<const uint8_t*>(bytes));
    __syncwarp();
  }

 private:
  template <class T>
  __device__ T* row_at(const Matrix<T>& matrix, int r) const {
    const int image = p.image_rows == p.rows ? 0 : r / p.image_rows;
    return matrix.at(image, r - image * p.image_rows) + first_output;
  }
  // Where output `column` of a row of the unit lies, in elements.
  __device__ int place(int row, int column) const {
    const int run = p.y_codes.data ? column / 4 % 2 : column / 16, quarter = p.y_codes.data ? column / 8 : column / 4 % 4;
    return (32 * run + 4 * row + quarter) * 4 + column % 4;
  }
  // Whether the outputs of a thread can be read and written at once.
  template <class T>
  __device__ bool vectors(const Matrix<T>& matrix) const {
    const int64_t strides = (matrix.stride | (p.image_rows == p.rows ? 0 : matrix.image_stride)) * sizeof(T);
    return count == kGroup && aligned(matrix.data, strides, sizeof(T) == 1 ? 8 : 16);
  }

  template <class T>
  __device__ void fetch(const Matrix<const T>& from, int first_row, int rows, T* to) const {
    if (vectors(from)) {
      if (int(lane / 4) >= rows) return;
      const T* row = row_at(from, first_row + lane / 4) - first_output;
#pragma unroll
      for (int run = 0; run < 2; ++run) copy4(row + columns.output(run), to + (32 * run + lane) * 4);
      return;
    }
    // Runs are read whole, though nothing comes of outputs that are not there.
    const int padded = (count + 3) & ~3;
#pragma unroll 1
    for (int i = lane; i < rows * padded; i += 32) {
      const int row = i / padded, column = i % padded;
      to[place(row, column)] = column < count ? row_at(from, first_row + row)[column] : T(0);
    }
  }
  template <class T>
  __device__ void write(const Matrix<T>& to, int first_row, int rows, const T* from) const {
    if (vectors(to)) {
      if (int(lane / 4) >= rows) return;
      T* row = row_at(to, first_row + lane / 4) - first_output;
      if constexpr (sizeof(T) == 1) {
        *reinterpret_cast<uint2*>(row + columns.first) = make_uint2(bytes[lane], bytes[32 + lane]);
      } else {
#pragma unroll
        for (int run = 0; run < 2; ++run) copy4(from + (32 * run + lane) * 4, row + columns.output(run));
      }
      return;
    }
#pragma unroll 1
    for (int i = lane; i < rows * count; i += 32)
      row_at(to, first_row + i / count)[i % count] = from[place(i / count, i % count)];
  }
  __device__ static void copy4(const float* from, float* to) {
    *reinterpret_cast<float4*>(to) = *reinterpret_cast<const float4*>(from);
  }
  __device__ static void copy4(const uint8_t* from, uint8_t* to) {
    *reinterpret_cast<uint32_t*>(to) = *reinterpret_cast<const uint32_t*>(from);
  }

  // Four outputs of a row, from their sums and residuals to results. table: copies, or 0 where the row has no table.
  __device__ void finish(int run, uint32_t table) const {
    const int output = columns.output(run), slot = 32 * run + lane;
    const int4 value = sums[slot];
    const int four[4] = {value.x, value.y, value.z, value.w};
    float y[4], column[4];
    load<4>(p.scale + output, column);
    load<4>(p.bias + output, y);
#pragma unroll
    for (int i = 0; i < 4; ++i) y[i] = __fmaf_rn(float(four[i]), column[i] * (1.0f / (1 << shift)), y[i]);
    if (p.rounds_pre_activation) {
      if (p.pre_activation_factors)
        load<4>(p.pre_activation_factors + output, column);
      else
        for (float& factor : column) factor = 1.0f;
#pragma unroll
      for (int i = 0; i < 4; ++i) y[i] = round_to(p.pre_activation, y[i], column[i]);
    }
    if (p.activation == Activation::gelu)
#pragma unroll
      for (float& each : y) each = gelu_by_exp(each);
    if (p.gain) {
      load<4>(p.gain + output, column);
#pragma unroll
      for (int i = 0; i < 4; ++i) y[i] = y[i] * column[i];
    }
    if (p.residual.data) {
      load<4>(reinterpret_cast<const float*>(operands) + 4 * slot, column);
#pragma unroll
      for (int i = 0; i < 4; ++i) y[i] = y[i] + column[i];
    }
    if (p.residual_codes.data) {
      uint8_t residual[4];
      load<4>(operands + 4 * slot, residual);
      load<4>(p.residual_scale + output, column);
#pragma unroll
      for (int i = 0; i < 4; ++i) y[i] = __fmaf_rn(float(residual[i] - p.residual_offset), column[i], y[i]);
    }
    if (p.y_float.data)
      store<4>(reinterpret_cast<float*>(sums + slot), y);
    else
      bytes[slot] = encode_four(y, output, table);
  }
  __device__ uint32_t encode_four(const float (&y)[4], int output, uint32_t table) const {
    float step[4];
    if (p.encode.inverse_steps)
      load<4>(p.encode.inverse_steps + output, step);
    else
      for (float& each : step) each = p.encode.inverse_step;
    uint32_t code[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float v = y[i] * step[i];
      code[i] = table ? look_up(table, int(clamp(floorf(2.0f * v) + float(2 * p.encode.offset), 0.0f, float(kEncodeTable - 1))))
                      : round_even(clamp(v, float(p.encode.low), float(p.encode.high))) + p.encode.offset;
    }
    return pack_bytes(code);
  }

  const LinearCodesParams& p;
  const unsigned lane;
  const Columns columns;
  const int first_output, count;
  int4* const sums;         // and results that are floats
  uint8_t* const operands;  // residuals, of either type
  uint32_t* const bytes;    // results that are codes
  const uint32_t copies;
};

}  // namespace fewbit::cuda
