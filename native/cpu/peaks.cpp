#include "cpu/peaks.h"

#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

namespace fewbit {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRuns = 200;
constexpr int kCount = 4096, kSteps = 8;  // of a run of products
constexpr int kLanes = 64;                // of a run of multiply-adds

// The compiler must not know what lies in arrays that nothing writes, and results go where it cannot see them.
alignas(64) uint8_t x_values[kCount];
alignas(64) int8_t w_values[kCount];
uint8_t* volatile x_start = x_values;
int8_t* volatile w_start = w_values;
volatile double sink;

void run_products() {
  int32_t sum = 0;
  for (int step = 0; step < kSteps; ++step) {
    const uint8_t* const x = x_start;
    const int8_t* const w = w_start;
    for (int i = 0; i < kCount; ++i) sum += x[i] * w[i];
  }
  sink = sum;
}

void run_multiply_adds() {
  float lanes[kLanes] = {};
  for (int step = 0; step < kCount; ++step)
    for (int j = 0; j < kLanes; ++j) lanes[j] = lanes[j] * 0.5f + 1.0f;
  sink = lanes[kLanes / 2];
}

}  // namespace

double shortest_run(int runs, void (*run)()) {
  double best = 1e9;
  for (int i = 0; i < runs; ++i) {
    const auto begin = Clock::now();
    run();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    if (seconds > 0 && seconds < best) best = seconds;
  }
  return best;
}

Peaks peaks_portable() {
  return {2.0 * kCount * kSteps / shortest_run(kRuns, run_products),
          2.0 * kCount * kLanes / shortest_run(kRuns, run_multiply_adds)};
}

Peaks measure_peaks(const Path& path) {
#if FEWBIT_X86
  if (std::strcmp(path.name, "amx") == 0) return peaks_amx();
  if (std::strcmp(path.name, "avx512vnni") == 0) return peaks_avx512();
  if (std::strcmp(path.name, "avxvnni") == 0) return peaks_avxvnni();
  if (std::strcmp(path.name, "avx2") == 0) return peaks_avx2();
#else
  (void)path;
#endif
  return peaks_portable();
}

double measure_read_speed(size_t bytes) {
  constexpr size_t kLeastBytes = 1 << 23;  // a run is long beside the reading of the clock
  constexpr int kReads = 8;
  const std::vector<uint8_t> buffer(bytes, 1);
  const int times = static_cast<int>(kLeastBytes / bytes + 1);
  double best = 1e9;
  for (int run = 0; run < kReads; ++run) {
    const auto begin = Clock::now();
    // The C library looks for a byte that is not there as fast as this machine can read.
    for (int i = 0; i < times; ++i) {
      const void* volatile start = buffer.data();
      sink = std::memchr(start, 0, bytes) != nullptr;
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    if (seconds > 0 && seconds < best) best = seconds;
  }
  return double(times) * double(bytes) / best;
}

}  // namespace fewbit
