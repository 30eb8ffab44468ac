// Floats whose bits are an integer. From 0 to 2^24 units of 2^-149, the smallest distance of floats, the bits of a float are the
// number of its units: a product or a sum that small is rounded to an integer (half to even) and is one where it lies, and an
// integer is a float. What is negative has the bits of a negative integer. Devices add and multiply such numbers as fast as
// others.
#pragma once

#include <cstdint>

namespace fewbit::cuda {

constexpr float kUnit = 0x1p-149f;
constexpr float in_units(int count) { return static_cast<float>(count) * kUnit; }

// a * b + c in units. Written out because in PTX a change of type is an instruction.
__device__ static __forceinline__ int multiply_add_units(float a, float b, float c) {
  int count;
  asm("fma.rn.f32 %0, %1, %2, %3;" : "=r"(count) : "f"(a), "f"(b), "f"(c));
  return count;
}
// The same, rounded down.
__device__ static __forceinline__ int multiply_add_units_down(float a, float b, float c) {
  int count;
  asm("fma.rm.f32 %0, %1, %2, %3;" : "=r"(count) : "f"(a), "f"(b), "f"(c));
  return count;
}
// bits * 2^-149 - b; 0 <= bits <= 2^24.
__device__ static __forceinline__ float subtract_units(int bits, float b) {
  float difference;
  asm("sub.rn.f32 %0, %1, %2;" : "=f"(difference) : "r"(bits), "f"(b));
  return difference;
}

}  // namespace fewbit::cuda
