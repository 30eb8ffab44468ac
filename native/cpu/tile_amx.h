// AMX tiles: eight registers of up to 16 rows x 64 bytes, and products of them.
//
//   tile_dpbusd<C, A, B>:  C[m][n] += sum over k, j of A[m][4 k + j] (u8) * B[k][4 n + j] (s8)      int32, wrapping
//   tile_dpbsud<C, A, B>:  the same with A signed and B unsigned
//
// so a row of B holds four consecutive inputs of up to 16 outputs. Tile numbers are immediates of the instructions, hence
// templates; gcc's own macros paste the numbers into assembler text and refuse template arguments, hence assembler here.
//
// With FEWBIT_EMULATE_AMX the same functions run on a scalar tile unit that refuses what the processor refuses (Intel SDM
// volume 1 chapter 18, volume 2 "Exceptions type AMX-E1..E4"), so that tile code is proved on machines without AMX. Code over
// this header lies in namespace FEWBIT_AMX_NAMESPACE: compiled a second time by a test, it does not collide with the first.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef FEWBIT_EMULATE_AMX
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#define FEWBIT_AMX_NAMESPACE fewbit::emulated
#else
#ifdef _MSC_VER
#include <immintrin.h>
#endif
#define FEWBIT_AMX_NAMESPACE fewbit
#endif

namespace FEWBIT_AMX_NAMESPACE {

// The 64 bytes of LDTILECFG.
struct TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};  // of tiles 0..7, at most 64; the others stay 0
  uint8_t rows[16] = {};        // of tiles 0..7, at most 16; both are 0 for a tile that is not used

  void set(int tile, int tile_rows, int tile_row_bytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<uint16_t>(tile_row_bytes);
  }
};
static_assert(sizeof(TileConfig) == 64, "LDTILECFG reads 64 bytes");
static_assert(offsetof(TileConfig, row_bytes) == 16 && offsetof(TileConfig, rows) == 48, "palette 1 layout");

namespace {

#ifdef FEWBIT_EMULATE_AMX

struct TileUnit {
  bool configured = false;
  TileConfig config;
  uint8_t data[8][16][64] = {};

  [[noreturn]] static void fault(const char* what) {
    std::fprintf(stderr, "AMX emulation: %s\n", what);
    std::abort();
  }
  static void require(bool condition, const char* what) {
    if (!condition) fault(what);
  }
  void require_tile(int t) const {
    require(configured, "tiles are not configured (#UD)");
    require(config.rows[t] != 0 && config.row_bytes[t] != 0, "a tile that the configuration does not have (#UD)");
  }
};

inline TileUnit& tile_unit() {
  static thread_local TileUnit unit;
  return unit;
}

inline void tile_load_config(const TileConfig& config) {
  TileUnit& unit = tile_unit();
  TileUnit::require(config.palette == 1, "palette is not 1 (#GP)");
  TileUnit::require(config.start_row == 0, "start_row is only for restarting (not supported here)");
  for (uint8_t byte : config.reserved) TileUnit::require(byte == 0, "reserved bytes are not zero (#GP)");
  for (int t = 0; t < 16; ++t) {
    if (t >= 8) TileUnit::require(config.rows[t] == 0 && config.row_bytes[t] == 0, "tile above 7 (#GP)");
    TileUnit::require(config.rows[t] <= 16, "more than 16 rows (#GP)");
    TileUnit::require(config.row_bytes[t] <= 64, "more than 64 bytes a row (#GP)");
    TileUnit::require((config.rows[t] == 0) == (config.row_bytes[t] == 0), "rows without bytes or bytes without rows (#GP)");
  }
  unit.configured = true;
  unit.config = config;
  std::memset(unit.data, 0, sizeof unit.data);
}

inline void tile_release() { tile_unit() = TileUnit(); }

template <int T>
inline void tile_zero() {
  static_assert(T >= 0 && T < 8);
  tile_unit().require_tile(T);
  std::memset(tile_unit().data[T], 0, sizeof tile_unit().data[T]);
}

template <int T>
inline void tile_load(const void* base, ptrdiff_t stride) {
  static_assert(T >= 0 && T < 8);
  TileUnit& unit = tile_unit();
  unit.require_tile(T);
  std::memset(unit.data[T], 0, sizeof unit.data[T]);
  for (int r = 0; r < unit.config.rows[T]; ++r)
    std::memcpy(unit.data[T][r], static_cast<const uint8_t*>(base) + r * stride, unit.config.row_bytes[T]);
}

template <int T>
inline void tile_store(void* base, ptrdiff_t stride) {
  static_assert(T >= 0 && T < 8);
  TileUnit& unit = tile_unit();
  unit.require_tile(T);
  for (int r = 0; r < unit.config.rows[T]; ++r)
    std::memcpy(static_cast<uint8_t*>(base) + r * stride, unit.data[T][r], unit.config.row_bytes[T]);
}

template <class TypeA, class TypeB>
inline void tile_dot(int c, int a, int b) {
  TileUnit& unit = tile_unit();
  for (int t : {c, a, b}) unit.require_tile(t);
  TileUnit::require(c != a && a != b && b != c, "two operands are one tile (#UD)");
  const TileConfig& config = unit.config;
  for (int t : {c, a, b}) TileUnit::require(config.row_bytes[t] % 4 == 0, "row bytes are not a multiple of 4 (#UD)");
  TileUnit::require(config.rows[c] == config.rows[a], "rows of C and A differ (#UD)");
  TileUnit::require(config.row_bytes[c] == config.row_bytes[b], "row bytes of C and B differ (#UD)");
  TileUnit::require(config.row_bytes[a] / 4 == config.rows[b], "row bytes / 4 of A and rows of B differ (#UD)");
  for (int m = 0; m < config.rows[c]; ++m)
    for (int n = 0; n < config.row_bytes[c] / 4; ++n) {
      uint32_t sum;
      std::memcpy(&sum, unit.data[c][m] + 4 * n, sizeof sum);
      for (int k = 0; k < config.row_bytes[a] / 4; ++k)
        for (int j = 0; j < 4; ++j)
          sum += static_cast<uint32_t>(int(TypeA(unit.data[a][m][4 * k + j])) * int(TypeB(unit.data[b][k][4 * n + j])));
      std::memcpy(unit.data[c][m] + 4 * n, &sum, sizeof sum);
    }
  // Rows of C behind those of the configuration become zero; here they never were anything else.
}

template <int C, int A, int B>
inline void tile_dpbusd() {
  static_assert(C >= 0 && C < 8 && A >= 0 && A < 8 && B >= 0 && B < 8);
  tile_dot<uint8_t, int8_t>(C, A, B);
}

template <int C, int A, int B>
inline void tile_dpbsud() {
  static_assert(C >= 0 && C < 8 && A >= 0 && A < 8 && B >= 0 && B < 8);
  tile_dot<int8_t, uint8_t>(C, A, B);
}

#elif defined(__GNUC__)

// The configuration and the tiles belong to the thread: load and release inside each task. "memory" because loads and
// stores touch bytes that no operand names.
inline void tile_load_config(const TileConfig& config) { asm volatile("ldtilecfg %0" ::"m"(config) : "memory"); }

inline void tile_release() { asm volatile("tilerelease" ::: "memory"); }

template <int T>
inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(T));
}

template <int T>
inline void tile_load(const void* base, ptrdiff_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(base), "r"(stride), "i"(T) : "memory");
}

template <int T>
inline void tile_store(void* base, ptrdiff_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(base), "r"(stride), "i"(T) : "memory");
}

template <int C, int A, int B>
inline void tile_dpbusd() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

template <int C, int A, int B>
inline void tile_dpbsud() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

#elif defined(_MSC_VER)

// Its intrinsics take any constant expression. Not compiled by the project's own jobs.
inline void tile_load_config(const TileConfig& config) { _tile_loadconfig(&config); }
inline void tile_release() { _tile_release(); }

template <int T>
inline void tile_zero() {
  _tile_zero(T);
}

template <int T>
inline void tile_load(const void* base, ptrdiff_t stride) {
  _tile_loadd(T, base, static_cast<int>(stride));
}

template <int T>
inline void tile_store(void* base, ptrdiff_t stride) {
  _tile_stored(T, base, static_cast<int>(stride));
}

template <int C, int A, int B>
inline void tile_dpbusd() {
  _tile_dpbusd(C, A, B);
}

template <int C, int A, int B>
inline void tile_dpbsud() {
  _tile_dpbsud(C, A, B);
}

#else
#error "tile_amx.h needs the assembler of gcc or clang, the intrinsics of MSVC, or FEWBIT_EMULATE_AMX"
#endif

}  // namespace
}  // namespace FEWBIT_AMX_NAMESPACE
