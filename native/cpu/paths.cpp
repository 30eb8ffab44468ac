// Which paths run here. A feature counts when the processor reports it, and the operating system saves its registers.
#include <cstring>

#include "cpu/kernels.h"

#if FEWBIT_X86
#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace fewbit {
namespace {

// Whether a path runs, and why not.
struct Verdict {
  bool runs;
  const char* reason;
};

#if FEWBIT_X86

struct Registers {
  uint32_t a, b, c, d;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  Registers r = {};
#if defined(_MSC_VER)
  int v[4], highest[4];
  __cpuid(highest, 0);
  if (leaf > static_cast<uint32_t>(highest[0])) return r;
  __cpuidex(v, static_cast<int>(leaf), static_cast<int>(subleaf));
  r = {uint32_t(v[0]), uint32_t(v[1]), uint32_t(v[2]), uint32_t(v[3])};
#else
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);  // leaves zeros where there is no such leaf
#endif
  return r;
}

// Which register states the operating system saves (XCR0), 0 where it saves none.
uint32_t saved_states() {
  constexpr uint32_t osxsave = 1u << 27;
  if (!(cpuid(1).c & osxsave)) return 0;
#if defined(_MSC_VER)
  return static_cast<uint32_t>(_xgetbv(0));
#else
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
#endif
}

constexpr bool has(uint32_t bits, uint32_t wanted) { return (bits & wanted) == wanted; }

Verdict avx2_verdict() {
  constexpr uint32_t avx2 = 1u << 5;                   // leaf 7 ebx
  constexpr uint32_t fma = 1u << 12, f16c = 1u << 29;  // leaf 1 ecx
  constexpr uint32_t ymm_state = 0x6;                  // xmm, upper halves of ymm
  if (!has(cpuid(7).b, avx2)) return {false, "the processor has no AVX2"};
  if (!has(cpuid(1).c, fma | f16c)) return {false, "the processor has no FMA or no F16C"};
  if (!has(saved_states(), ymm_state)) return {false, "the operating system does not save the AVX registers"};
  return {true, "AVX2 and FMA"};
}

Verdict avxvnni_verdict() {
  constexpr uint32_t avx_vnni = 1u << 4;  // leaf 7, 1 eax
  if (const Verdict avx2 = avx2_verdict(); !avx2.runs) return avx2;
  if (!has(cpuid(7, 1).a, avx_vnni)) return {false, "the processor has no AVX-VNNI"};
  return {true, "AVX2, FMA and AVX-VNNI"};
}

Verdict avx512_verdict() {
  constexpr uint32_t f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;  // leaf 7 ebx
  constexpr uint32_t vbmi = 1u << 1, vnni = 1u << 11;                            // leaf 7 ecx
  constexpr uint32_t fma = 1u << 12, f16c = 1u << 29;                            // leaf 1 ecx
  constexpr uint32_t zmm_state = 0xe6;  // xmm, ymm, masks, upper halves of zmm0-15, zmm16-31
  const Registers leaf7 = cpuid(7);
  if (!has(leaf7.b, f | dq | bw | vl)) return {false, "the processor has no AVX-512 F, BW, DQ and VL"};
  if (!has(leaf7.c, vnni)) return {false, "the processor has no AVX-512 VNNI"};
  if (!has(leaf7.c, vbmi)) return {false, "the processor has no AVX-512 VBMI"};
  if (!has(cpuid(1).c, fma | f16c)) return {false, "the processor has no FMA or no F16C"};
  if (!has(saved_states(), zmm_state)) return {false, "the operating system does not save the AVX-512 registers"};
  return {true, "AVX-512 F, BW, DQ, VL, VNNI and VBMI"};
}

bool tile_permission() {
#if defined(__linux__)
  constexpr long request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long tile_data = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

Verdict amx_verdict() {
  constexpr uint32_t tile = 1u << 24, int8 = 1u << 25;  // leaf 7 edx
  constexpr uint32_t tile_state = 3u << 17;
  if (const Verdict avx512 = avx512_verdict(); !avx512.runs) return avx512;
  if (!has(cpuid(7).d, tile | int8)) return {false, "the processor has no AMX int8"};
  if (!has(saved_states(), tile_state)) return {false, "the operating system does not save the AMX tiles"};
  if (!tile_permission()) return {false, "the kernel refused AMX tile permission"};
  return {true, "AMX tile and int8"};
}

#endif

Path make_path(const char* name, const Kernels* kernels, Verdict verdict) {
  return {name, kernels, verdict.runs && kernels, verdict.reason};
}

template <class Function>
const char* origin(const Path& path, Function Kernels::*kernel) {
  for (const Path& slower : paths())
    if (slower.kernels && slower.kernels->*kernel == path.kernels->*kernel) return slower.name;
  return path.name;
}

}  // namespace

PathList paths() {
#if FEWBIT_X86
  static const Path list[] = {
      make_path("portable", kernels_portable(), {true, "plain C++"}),
      make_path("avx2", kernels_avx2(), avx2_verdict()),
      make_path("avxvnni", kernels_avxvnni(), avxvnni_verdict()),
      make_path("avx512vnni", kernels_avx512(), avx512_verdict()),
      make_path("amx", kernels_amx(), amx_verdict()),
  };
#else
  constexpr Verdict not_built = {false, "this build is not for x86-64"};
  static const Path list[] = {
      make_path("portable", kernels_portable(), {true, "plain C++"}),
      make_path("avx2", nullptr, not_built),
      make_path("avxvnni", nullptr, not_built),
      make_path("avx512vnni", nullptr, not_built),
      make_path("amx", nullptr, not_built),
  };
#endif
  return {list, static_cast<int>(sizeof list / sizeof *list)};
}

const Path* find_path(const char* name) {
  const Path* found = nullptr;
  for (const Path& path : paths()) {
    if (name && *name ? std::strcmp(path.name, name) == 0 : path.runs) found = &path;
  }
  return found;
}

std::vector<KernelOrigin> kernel_origins(const Path& path) {
  return {
      {"linearCodes", origin(path, &Kernels::linear_codes)},
      {"linearF32", origin(path, &Kernels::linear_f32)},
      {"attentionCodes", origin(path, &Kernels::attention_codes)},
      {"attentionF32", origin(path, &Kernels::attention_f32)},
      {"layernorm", origin(path, &Kernels::layernorm)},
      {"layernormCodes", origin(path, &Kernels::layernorm_codes)},
      {"patchify", origin(path, &Kernels::patchify)},
      {"pointwise", origin(path, &Kernels::pointwise)},
      {"layernormGradient", origin(path, &Kernels::layernorm_gradient)},
      {"attentionGradient", origin(path, &Kernels::attention_gradient)},
      {"productSum", origin(path, &Kernels::product_sum)},
  };
}

}  // namespace fewbit
