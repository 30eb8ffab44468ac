// What follows the integer product of a linear layer, for what most layers are: to codes of floats without a residual, and to
// floats without a function. native/ops/linear.h line by line.
#pragma once

#include "cuda/kernels/encode_table.cuh"
#include "cuda/kernels/integer_bits.cuh"
#include "cuda/kernels/mma.cuh"
#include "cuda/kernels/numeric.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/ops/linear_codes.h"
#include "cuda/ops/linear_tile.h"

namespace fewbit::cuda {

// The outputs of a thread: two runs of four. Bytes of both runs lie side by side, floats 16 outputs apart, so that the four
// threads of a row write whole sectors of 32 bytes either way.
struct Columns {
  int first, step;

  __device__ Columns(const LinearCodesParams& p, unsigned group, unsigned lane)
      : first(kGroup * group + lane % 4 * (p.y_codes.data ? 8 : 4)), step(p.y_codes.data ? 4 : 16) {}
  __device__ int output(int run) const { return first + run * step; }
};

// GELU where its result is rounded to a step: x (1 + tanh(x (a + b x^2))) / 2. The coefficients minimise the largest
// error, 2.7e-4, which is about what tanh.approx leaves (2^-11 of a tanh, x / 4096 of a result). A code of eight bits has steps
// of more than 0.01.
class GeluByTanh {
 public:
  // Not as constants in the source: the compiler would load those anew for every row.
  __device__ GeluByTanh() {
    asm volatile("mov.f32 %0, 0f3F4CD718;" : "=f"(a_));  // 0.8001571
    asm volatile("mov.f32 %0, 0f3D0E2286;" : "=f"(b_));  // 0.0347009
  }
  // half: half of x, times whatever the result is to be multiplied with.
  __device__ float operator()(float x, float half) const {
    float t;
    asm("tanh.approx.f32 %0, %1;" : "=f"(t) : "f"(x * __fmaf_rn(x * x, b_, a_)));
    return __fmaf_rn(half, t, half);
  }

 private:
  float a_, b_;
};

// GELU elsewhere: x / (1 + exp(-x (a + b x^2 + c x^4))), within 3e-5. Beyond x^2 = 52 the polynomial would turn back.
__device__ static __forceinline__ float gelu_by_exp(float x) {
  const float square = fminf(x * x, 52.0f);
  const float slope = __fmaf_rn(__fmaf_rn(square, 1.01428790e-3f, -0.106775765f), square, -2.30112116f);
  float e, inverse;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(x * slope));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(1.0f + e));
  return x * inverse;
}

__device__ static __forceinline__ void load_runs(const float* from, const Columns& columns, float (&to)[8]) {
  load<4>(from + columns.output(0), to), load<4>(from + columns.output(1), to + 4);
}

__device__ static __forceinline__ const float* at_byte(const float* from, int64_t bytes) {
  return reinterpret_cast<const float*>(reinterpret_cast<const uint8_t*>(from) + bytes);
}

// Written out, because the compiler takes vectors apart.
__device__ static __forceinline__ void store_vector(float* to, const float* from) {
  asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(from[0]), "f"(from[1]), "f"(from[2]), "f"(from[3])
               : "memory");
}

// Bit u: whether row `row` + 8 u is fine.
template <int units>
__device__ static __forceinline__ uint32_t fine_units(const Encoder& code, int row) {
  const int every = code.fine_every;
  uint32_t fine = 0;
  if (!every) return fine;
  int t = unsigned(row) % unsigned(every);
#pragma unroll 1
  for (int u = 0; u < units; ++u) {
    if (t == 0) fine |= 1u << u;
    for (t += 8; t >= every;) t -= every;
  }
  return fine;
}

// value[u]: the sums of row `row` + 8 u, 2^shift times as large as they are. number: of the part that they are of. copies: see
// look_up, where codes are by a table.
template <int shift, bool by_table, int units>
__device__ static __forceinline__ void finish_codes(const LinearCodesParams& p, const Columns& columns, int number, int row,
                                                    const int (&value)[units][8], uint32_t copies = 0) {
  LinearPart part{0, p.encode.low, p.encode.high, p.encode.offset};
  if (p.part_outputs) {
    part = p.parts[number];
    part.y -= number * p.part_outputs;
  }
  float scale[8], bias[8], inverse[8];
  load_runs(p.scale, columns, scale);
  load_runs(p.bias, columns, bias);
  if (p.encode.inverse_steps)
    load_runs(p.encode.inverse_steps, columns, inverse);
  else
    for (float& step : inverse) step = p.encode.inverse_step;
  const bool activates = p.activation == Activation::gelu;
  const GeluByTanh gelu;
  if (shift)
#pragma unroll
    for (float& step : scale) step = step * (1.0f / (1 << shift));
  // Steps are so small that what is rounded to one is rounded to units (integer_bits.cuh).
  constexpr float kSmall = 0x1p-75f;
  const float small = activates && !by_table ? 0.5f * kSmall : kSmall;
#pragma unroll
  for (float& step : inverse) step = step * small;
  // Of all codes of eight bits, saturation is the clamp.
  const bool whole = part.high - part.low == 255;
  const float low = float(part.low) * kSmall, high = float(part.high) * kSmall;
  // A table has places half a step apart.
  const float offset = in_units((by_table ? 2 : 1) * part.offset);
  float to_units = (by_table ? 2 : 1) * kUnit / kSmall;
  keep(to_units);
  const uint32_t fine = by_table ? fine_units<units>(p.encode, row) : 0;
  uint8_t* y = p.y_codes.data + row * p.y_codes.stride + part.y + columns.first;
  const int64_t next = 8 * p.y_codes.stride;
  const int rows = p.rows - row;
#pragma unroll
  for (int u = 0; u < units; ++u) {
    if (8 * u >= rows) break;
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = __fmaf_rn(float(value[u][i]), scale[i], bias[i]);
    uint2 bytes;
    if constexpr (by_table) {
      if (activates)
#pragma unroll
        for (float& each : v) each = gelu_by_exp(each);
      uint32_t code[8];
      if (fine >> u & 1) {
#pragma unroll
        for (int i = 0; i < 8; ++i)
          code[i] = multiply_add_units(clamp(v[i] * inverse[i], low, high), kUnit / kSmall, in_units(part.offset));
      } else {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const int place = multiply_add_units_down(v[i] * inverse[i], to_units, offset);
          code[i] = look_up(copies, min(max(place, 0), kEncodeTable - 1));
        }
      }
      bytes = make_uint2(pack_bytes({code[0], code[1], code[2], code[3]}), pack_bytes({code[4], code[5], code[6], code[7]}));
    } else {
      float encoded[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) encoded[i] = v[i] * inverse[i];
      if (activates)
#pragma unroll
        for (int i = 0; i < 8; ++i) encoded[i] = gelu(v[i], encoded[i]);
      if (!whole)
#pragma unroll
        for (float& each : encoded) each = clamp(each, low, high);
      int code[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) code[i] = multiply_add_units(encoded[i], to_units, offset);
      bytes.x = pack_unsigned(code[0], code[1], code[2], code[3]);
      bytes.y = pack_unsigned(code[4], code[5], code[6], code[7]);
    }
    *reinterpret_cast<uint2*>(y) = bytes;
    y += next;
  }
}

template <int shift, int units>
__device__ static __forceinline__ void finish_floats(const LinearCodesParams& p, const Columns& columns, int row,
                                                     const int (&value)[units][8]) {
  float scale[8], bias[8], residual[8];
  load_runs(p.scale, columns, scale);
  load_runs(p.bias, columns, bias);
  if (shift)
    for (float& step : scale) step = step * (1.0f / (1 << shift));
  const bool adds = p.residual.data;
  const float* from = p.residual.data + row * p.residual.stride + columns.first;
  float* y = p.y_float.data + row * p.y_float.stride + columns.first;
  int64_t next_from = 32 * p.residual.stride, next = 32 * p.y_float.stride;  // bytes
  keep(next_from), keep(next);
  const int rows = p.rows - row;
  if (rows <= 0) return;
  if (adds) load<4>(from, residual), load<4>(from + 16, residual + 4);
#pragma unroll
  for (int u = 0; u < units; ++u) {
    const bool last = u + 1 == units || 8 * (u + 1) >= rows;
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = __fmaf_rn(float(value[u][i]), scale[i], bias[i]);
    if (adds) {
#pragma unroll
      for (int i = 0; i < 8; ++i) v[i] = v[i] + residual[i];
      // The next row is asked for before this one, which may be in the way, is written.
      from = at_byte(from, next_from);
      if (!last) load<4>(from, residual), load<4>(from + 16, residual + 4);
    }
    store_vector(y, v), store_vector(y + 16, v + 4);
    if (last) break;
    y = const_cast<float*>(at_byte(y, next));
  }
}

}  // namespace fewbit::cuda
