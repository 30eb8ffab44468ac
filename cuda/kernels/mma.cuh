// Instructions that C++ has no words for: tensor cores, asynchronous copies, loads of fragments from shared memory.
#pragma once

#include <cstdint>
#include <utility>

namespace fewbit::cuda {

// A number that is a constant even where it is an argument.
template <int value>
struct Constant {
  __device__ constexpr operator int() const { return value; }
};

// body(0), body(1), ... body(count - 1) with such numbers: offsets of addresses have to be constants.
template <class Body, int... i>
__device__ static __forceinline__ void unroll(Body body, std::integer_sequence<int, i...>) {
  (body(Constant<i>()), ...);
}
template <int count, class Body>
__device__ static __forceinline__ void unroll(Body body) {
  unroll(body, std::make_integer_sequence<int, count>());
}

// Addresses in shared memory are 32-bit numbers, so that most of an address is an immediate offset.
__device__ static __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Keeps a value in its register: the compiler would rather compute addresses anew wherever they are used.
__device__ static __forceinline__ void keep(uint32_t& value) { asm volatile("" : "+r"(value)); }
__device__ static __forceinline__ void keep(int64_t& value) { asm volatile("" : "+l"(value)); }
__device__ static __forceinline__ void keep(float& value) { asm volatile("" : "+f"(value)); }

// base + a * b, in one instruction.
__device__ static __forceinline__ const uint8_t* advance(const uint8_t* base, uint32_t a, uint32_t b) {
  const uint8_t* result;
  asm("mad.wide.u32 %0, %1, %2, %3;" : "=l"(result) : "r"(a), "r"(b), "l"(base));
  return result;
}

// 16 bytes, around the registers and the first cache.
template <int to_offset, int from_offset = 0>
__device__ static __forceinline__ void copy_async(uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0 + %2], [%1 + %3], 16;" ::"r"(to), "l"(from), "n"(to_offset), "n"(from_offset)
               : "memory");
}
__device__ static __forceinline__ void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

template <int offset>
__device__ static __forceinline__ void load_shared(uint32_t from, uint32_t (&to)[4]) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4 + %5];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from), "n"(offset)
               : "memory");
}
template <int offset>
__device__ static __forceinline__ void load_shared(uint32_t from, uint32_t (&to)[2]) {
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2 + %3];" : "=r"(to[0]), "=r"(to[1]) : "r"(from), "n"(offset) : "memory");
}
template <int offset>
__device__ static __forceinline__ void store_shared(uint32_t to, const int (&from)[4]) {
  asm volatile("st.shared.v4.u32 [%0 + %1], {%2, %3, %4, %5};" ::"r"(to), "n"(offset), "r"(from[0]), "r"(from[1]), "r"(from[2]),
               "r"(from[3])
               : "memory");
}

// Four matrices of 8 rows x 16 bytes; thread i gives the address of row i % 8 of matrix i / 8, and receives word i % 4 of row
// i / 4 of each.
template <int offset>
__device__ static __forceinline__ void load_matrices(uint32_t row, uint32_t (&to)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4 + %5];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row), "n"(offset)
               : "memory");
}

// d = a b + c, 16 x 32 unsigned bytes times 32 x 8 signed ones. Thread i holds, with g = i / 4 and t = i % 4,
//   a    rows g, g + 8, g, g + 8; columns 4 t .. 4 t + 3, and 16 more in a[2] and a[3]
//   b    rows 4 t .. 4 t + 3, and 16 more in b1; column g
//   c d  rows g, g, g + 8, g + 8; columns 2 t, 2 t + 1, 2 t, 2 t + 1
__device__ static __forceinline__ void multiply_u8_s8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, int c0,
                                                      int c1, int c2, int c3) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(c0), "r"(c1), "r"(c2), "r"(c3));
}

// The same of signed bytes and unsigned ones.
__device__ static __forceinline__ void multiply_s8_u8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, int c0,
                                                      int c1, int c2, int c3) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(c0), "r"(c1), "r"(c2), "r"(c3));
}

// The same of 16 x 64 unsigned and 64 x 8 signed nibbles: eight of them where there are four bytes. Native below compute
// capability 9.
__device__ static __forceinline__ void multiply_u4_s4(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, int c0,
                                                      int c1, int c2, int c3) {
  asm("mma.sync.aligned.m16n8k64.row.col.s32.u4.s4.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(c0), "r"(c1), "r"(c2), "r"(c3));
}

// mask ? a : b, bit by bit, in one instruction.
__device__ static __forceinline__ uint32_t select_bits(uint32_t mask, uint32_t a, uint32_t b) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xCA;" : "=r"(result) : "r"(mask), "r"(a), "r"(b));
  return result;
}

// Four integers, saturated to unsigned bytes, the first in the lowest.
__device__ static __forceinline__ uint32_t pack_unsigned(int a, int b, int c, int d) {
  uint32_t high, all;
  asm("cvt.pack.sat.u8.s32.b32 %0, %1, %2, 0;" : "=r"(high) : "r"(d), "r"(c));
  asm("cvt.pack.sat.u8.s32.b32 %0, %1, %2, %3;" : "=r"(all) : "r"(b), "r"(a), "r"(high));
  return all;
}

}  // namespace fewbit::cuda
