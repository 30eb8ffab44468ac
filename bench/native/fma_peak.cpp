// The float peak of one core: independent fused multiply-adds on registers, nothing else. Prints one line of JSON.
#include <chrono>
#include <cstdio>

#if defined(__x86_64__)
// Twelve chains cover latency x throughput (4 or 5 cycles x 2) on every x86 core with FMA.
#define ACCUMULATORS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define FMA(r) "vfmadd231ps %%" REG "12, %%" REG "13, %%" REG #r "\n\t"
#define CLEAR(r) "vxorps %%ymm" #r ", %%ymm" #r ", %%ymm" #r "\n\t"
#define CLOBBER "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9", "ymm10", "ymm11", "ymm12", "ymm13"

static void fma256(long rounds) {
#define REG "ymm"
  asm volatile(ACCUMULATORS(CLEAR) CLEAR(12) CLEAR(13) "1:\n\t" ACCUMULATORS(FMA) "dec %0\n\tjnz 1b\n\tvzeroupper"
               : "+r"(rounds)::CLOBBER, "cc");
#undef REG
}

static void fma512(long rounds) {
#define REG "zmm"
  asm volatile(ACCUMULATORS(CLEAR) CLEAR(12) CLEAR(13) "1:\n\t" ACCUMULATORS(FMA) "dec %0\n\tjnz 1b\n\tvzeroupper"
               : "+r"(rounds)::CLOBBER, "cc");
#undef REG
}

template <class F>
static double gflops(F run, int lanes) {
  const long rounds = 20000000;
  double best = 0;
  run(rounds / 10);
  for (int i = 0; i < 5; i++) {
    const auto start = std::chrono::steady_clock::now();
    run(rounds);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    const double rate = 12.0 * lanes * 2 * rounds / seconds.count() / 1e9;
    if (rate > best) best = rate;
  }
  return best;
}

int main() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f"))
    std::printf("{\"isa\": \"avx512\", \"gflops\": %.2f}\n", gflops(fma512, 16));
  else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    std::printf("{\"isa\": \"avx2\", \"gflops\": %.2f}\n", gflops(fma256, 8));
  else
    return 1;
}
#else
int main() { return 1; }
#endif
