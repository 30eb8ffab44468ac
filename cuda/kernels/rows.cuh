// Where a thread finds its rows, and vectors of elements.
#pragma once

#include "cuda/kernels/mma.cuh"
#include "cuda/kernels/numeric.cuh"
#include "cuda/ops/device.h"

namespace fewbit::cuda {

// Row r of all rows of a pass.
template <class T>
__device__ static inline T* row_of(const Matrix<T>& matrix, int r, int image_rows) {
  return matrix.at(r / image_rows, r % image_rows);
}

// Whether a pointer, and all that lies multiples of so many bytes further on, is at a multiple of `alignment`.
__device__ static inline bool aligned(const void* pointer, int64_t bytes, int alignment) {
  return ((reinterpret_cast<uint64_t>(pointer) | static_cast<uint64_t>(bytes)) & (alignment - 1)) == 0;
}

template <int width>
struct Bytes;
template <>
struct Bytes<1> {
  using type = uint8_t;
};
template <>
struct Bytes<4> {
  using type = uint32_t;
};
template <>
struct Bytes<16> {
  using type = uint4;
};

// `width` floats in one load or store.
template <int width>
__device__ static inline void load(const float* from, float* to) {
  if constexpr (width == 4) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else {
    to[0] = *from;
  }
}

template <int width>
__device__ static inline void store(float* to, const float* from) {
  if constexpr (width == 4)
    *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
  else
    *to = from[0];
}

template <int width>
__device__ static inline void load(const int* from, int* to) {
  if constexpr (width == 4) {
    const int4 v = *reinterpret_cast<const int4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else {
    to[0] = *from;
  }
}

template <int width>
__device__ static inline void store(int* to, const int* from) {
  if constexpr (width == 4)
    *reinterpret_cast<int4*>(to) = make_int4(from[0], from[1], from[2], from[3]);
  else
    *to = from[0];
}

template <int width>
__device__ static inline void load(const uint8_t* from, uint8_t* to) {
  if constexpr (width == 4) {
    const uchar4 v = *reinterpret_cast<const uchar4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else {
    to[0] = *from;
  }
}

template <int width>
__device__ static inline void store(uint8_t* to, const uint8_t* from) {
  if constexpr (width == 4)
    *reinterpret_cast<uchar4*>(to) = make_uchar4(from[0], from[1], from[2], from[3]);
  else
    *to = from[0];
}

// body(n, column) for all columns of a row, `vector` at a time and those behind the last vector one by one; n, a constant, says
// which. By `lanes` threads, at least `vector`.
template <int vector, int unrolled = 1, class Body>
__device__ static inline void each_column(int lane, int lanes, int width, Body body) {
  const int whole = width / vector * vector;
#pragma unroll unrolled
  for (int i = lane * vector; i < whole; i += lanes * vector) body(Constant<vector>(), i);
  if (vector > 1 && whole + lane < width) body(Constant<1>(), whole + lane);
}

// Floats or, with codes, bytes: whatever the target of an op is.
template <int width>
__device__ static inline void store_target(float* floats, uint8_t* codes, const Encoder& encode, int column, const float* y) {
  if (floats) {
    store<width>(floats + column, y);
    return;
  }
  float inverse_steps[width];
  if (encode.inverse_steps) load<width>(encode.inverse_steps + column, inverse_steps);
  uint8_t bytes[width];
#pragma unroll
  for (int i = 0; i < width; ++i)
    bytes[i] = encode_scaled(encode, y[i] * (encode.inverse_steps ? inverse_steps[i] : encode.inverse_step));
  store<width>(codes + column, bytes);
}

}  // namespace fewbit::cuda
