// The table of an encoder in shared memory, once for each thread of a warp: word w of it for thread i lies at 128 w + 4 i, so
// that any 32 entries are read without a conflict of banks.
#pragma once

#include "cuda/kernels/mma.cuh"
#include "ops/encode.h"

namespace fewbit::cuda {

constexpr int kSharedTable = kEncodeTable * 32;

// By all threads of a block; a barrier follows. shared: at a multiple of 16 bytes. count: of tables, one behind the other.
__device__ static inline void share_table(const uint8_t* table, uint8_t* shared, int thread, int threads, int count = 1) {
  const auto* words = reinterpret_cast<const uint32_t*>(table);
  auto* copies = reinterpret_cast<uint4*>(shared);
  for (int i = thread; i < count * kSharedTable / 16; i += threads) {
    const uint32_t word = words[i / 8];
    copies[i] = make_uint4(word, word, word, word);
  }
}

// Entry `place` of this thread's copy. copies: of the table, as an address in shared memory, and 4 times the thread of the warp.
__device__ static __forceinline__ uint32_t look_up(uint32_t copies, uint32_t place) {
  uint32_t word, address, byte;
  asm("mad.lo.u32 %0, %1, 32, %2;" : "=r"(word) : "r"(place & 0x1FC), "r"(copies));
  asm("lop3.b32 %0, %1, 3, %2, 0xEA;" : "=r"(address) : "r"(place), "r"(word));
  asm volatile("ld.shared.u8 %0, [%1];" : "=r"(byte) : "r"(address) : "memory");
  return byte;
}

// The lowest bytes of four words, the first in the lowest.
__device__ static __forceinline__ uint32_t pack_bytes(const uint32_t (&word)[4]) {
  return __byte_perm(__byte_perm(word[0], word[1], 0x0040), __byte_perm(word[2], word[3], 0x0040), 0x5410);
}

}  // namespace fewbit::cuda
