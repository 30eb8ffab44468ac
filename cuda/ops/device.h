// What every CUDA op is made of: where rows lie on the device, and how a kernel is launched. Plain data, read by the host
// compiler and by nvcc.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#define FEWBIT_HOST_DEVICE __host__ __device__
#else
#define FEWBIT_HOST_DEVICE
#endif

namespace fewbit::cuda {

// Rows of the images of a pass, in device memory; strides in elements. An operand that is missing has null data.
//
// An op has `rows` rows in all, `image_rows` for an image. Row r lies at at(r / image_rows, r % image_rows). Where the rows of
// all images lie at one distance in every operand, the op is one long matrix and image_rows equals rows: then the image is
// always 0, and image_stride is not looked at.
template <class T>
struct Matrix {
  T* data;
  int64_t stride, image_stride;

  FEWBIT_HOST_DEVICE T* at(int image, int row) const { return data + image * image_stride + row * stride; }
};

// Whether rows of elements of one type can be read and written in vectors of `bytes`.
template <class T>
bool aligned(const Matrix<T>& matrix, size_t bytes) {
  const size_t stride = matrix.stride * sizeof(T), image_stride = matrix.image_stride * sizeof(T);
  return reinterpret_cast<uintptr_t>(matrix.data) % bytes == 0 && stride % bytes == 0 && image_stride % bytes == 0;
}

constexpr unsigned blocks_of(int64_t work, int64_t share) { return static_cast<unsigned>((work + share - 1) / share); }

// What a launch depends on.
struct Device {
  int major, minor;     // compute capability
  int multiprocessors;  // of the whole device
  int block_shared;     // bytes of shared memory a block can have (opted in to)
};

// Dynamic shared memory that a block has without asking.
constexpr int kMostShared = 48 << 10;

// The kernel takes one argument: the parameter struct of its op by value, at most 4 KiB.
struct Launch {
  const char* kernel;  // fewbit_<op>_<variant>
  unsigned grid[3], block[3];
  unsigned shared;  // bytes of dynamic shared memory; above kMostShared the executor opts in
};

// Device memory that an op wants besides its operands. It is shared by all ops of a session: contents do not survive.
struct Workspace {
  size_t bytes = 0;
  // Zero before every launch, and left zero by it: tickets of blocks that reduce together.
  size_t counters = 0;
};

}  // namespace fewbit::cuda
