// Linear layers in plain C++, written as loops that compilers turn into 128-bit vector code (SSE2: pmaddwd on 16-bit
// lanes; NEON: smlal).
#include <cstring>

#include "cpu/implementations.h"
#include "ops/numeric.h"

namespace fewbit {
namespace {

// One row of x with four rows of weights, all 16 bits wide. |x * w| <= 255 * 128, so a pair sum fits int32 easily.
void dot4(const int16_t* x, const int16_t* w, ptrdiff_t w_stride, int inputs, int32_t* acc) {
  const int16_t *w0 = w, *w1 = w + w_stride, *w2 = w + 2 * w_stride, *w3 = w + 3 * w_stride;
  int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (int i = 0; i < inputs; ++i) {
    s0 += x[i] * w0[i];
    s1 += x[i] * w1[i];
    s2 += x[i] * w2[i];
    s3 += x[i] * w3[i];
  }
  acc[0] = s0, acc[1] = s1, acc[2] = s2, acc[3] = s3;
}

// A panel of packed weights to [16 outputs][inputs rounded up to 32] of 16 bits.
void unpack_panel(const uint8_t* packed, int bits, int inputs, int16_t* weight) {
  const int blocks = ceil_div(inputs, kBlockInputs);
  const ptrdiff_t stride = ptrdiff_t(blocks) * kBlockInputs;
  int8_t row[kRowBytes];
  for (int c = 0; c < blocks; ++c, packed += block_bytes(bits)) {
    for (int r = 0; r < kBlockRows; ++r) {
      unpack_row(packed, bits, r, row);
      for (int n = 0; n < kBlockOutputs; ++n)
        for (int j = 0; j < 4; ++j) weight[n * stride + kBlockInputs * c + 4 * r + j] = row[4 * n + j];
    }
  }
}

}  // namespace

// Scratch: a panel of weights (32 bytes an input) and a row of x (2 bytes an input), of the 64 bytes an input it has.
void linear_codes_portable(const LinearCodes& op, int task, void* scratch) {
  const Tile tile = linear_tile(op, task);
  const ptrdiff_t stride = ptrdiff_t(ceil_div(op.inputs, kBlockInputs)) * kBlockInputs;
  int16_t* weight = static_cast<int16_t*>(scratch);
  int16_t* x = weight + kBlockOutputs * stride;
  for (int output = tile.output_begin; output < tile.output_end; output += kBlockOutputs) {
    const int outputs = tile.output_end - output < kBlockOutputs ? tile.output_end - output : kBlockOutputs;
    unpack_panel(op.weight + output / kBlockOutputs * panel_bytes(op.inputs, op.weight_bits), op.weight_bits, op.inputs, weight);
    for (ptrdiff_t t = tile.row_begin; t < tile.row_end; ++t) {
      const Encoder code = encoder_of_row(op.encode, t);
      for (int i = 0; i < op.inputs; ++i) x[i] = op.x[t * op.x_stride + i];
      int32_t acc[kBlockOutputs];
      for (int n = 0; n < outputs; n += 4) dot4(x, weight + n * stride, stride, op.inputs, acc + n);
      for (int n = 0; n < outputs; ++n) {
        const int o = output + n;
        float y = std::fma(float(acc[n] + op.correction[o]), op.scale[o], op.bias[o]);
        if (op.pre_activation)
          y = round_to(*op.pre_activation, y, op.pre_activation_factors ? op.pre_activation_factors[o] : 1.0f);
        if (op.activation == Activation::gelu) y = gelu(y);
        if (op.gain) y = y * op.gain[o];
        if (op.residual) y = y + op.residual[t * op.residual_stride + o];
        if (op.residual_codes) {
          const int level = op.residual_codes[t * op.residual_codes_stride + o] - op.residual_offset;
          y = std::fma(float(level), op.residual_scale[o], y);
        }
        if (op.y_float)
          op.y_float[t * op.y_float_stride + o] = y;
        else
          op.y_codes[t * op.y_codes_stride + o] = encode(code, y, o);
      }
    }
  }
}

namespace {

// Four floats that gcc and clang keep in a register; as a plain array they would stay in memory, four times slower.
#if defined(__GNUC__)
typedef float F32x4 __attribute__((vector_size(16)));
#else
struct F32x4 {
  float v[4];
  F32x4& operator+=(const F32x4& b) {
    for (int n = 0; n < 4; ++n) v[n] += b.v[n];
    return *this;
  }
};
inline F32x4 operator*(float a, const F32x4& b) { return {{a * b.v[0], a * b.v[1], a * b.v[2], a * b.v[3]}}; }
#endif

// R rows of x with a panel of weights [inputs][16].
template <int R>
void multiply(const float* x, ptrdiff_t x_stride, const float* w, int inputs, float* acc) {
  F32x4 sum[R][4] = {};
  for (int i = 0; i < inputs; ++i, w += 16) {
    F32x4 weight[4];
    std::memcpy(weight, w, sizeof weight);
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) sum[r][q] += x[r * x_stride + i] * weight[q];
    }
  }
  std::memcpy(acc, sum, sizeof sum);
}

}  // namespace

void linear_f32_portable(const LinearF32& op, int task, void*) {
  const Tile tile = linear_tile(op, task);
  for (int output = tile.output_begin; output < tile.output_end; output += 16) {
    const int outputs = tile.output_end - output < 16 ? tile.output_end - output : 16;
    const float* weight = op.weight + ptrdiff_t(output) * op.inputs;
    float acc[2][16];
    for (ptrdiff_t t = tile.row_begin; t < tile.row_end; t += 2) {
      const int rows = tile.row_end - t < 2 ? 1 : 2;
      if (rows == 2)
        multiply<2>(op.x + t * op.x_stride, op.x_stride, weight, op.inputs, acc[0]);
      else
        multiply<1>(op.x + t * op.x_stride, op.x_stride, weight, op.inputs, acc[0]);
      for (int r = 0; r < rows; ++r) {
        for (int n = 0; n < outputs; ++n) {
          const int o = output + n;
          float y = acc[r][n] + op.bias[o];
          if (op.activation == Activation::gelu) y = gelu(y);
          if (op.gain) y = y * op.gain[o];
          if (op.residual) y = y + op.residual[(t + r) * op.residual_stride + o];
          op.y[(t + r) * op.y_stride + o] = y;
        }
      }
    }
  }
}

}  // namespace fewbit
