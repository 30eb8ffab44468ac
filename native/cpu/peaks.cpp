#include "cpu/peaks.h"

#include <cstdint>
#include <cstring>
#include <vector>

namespace fewbit {
namespace {

constexpr int kRuns = 200;

// Results go here, so that nothing is left out.
volatile double sink;

}  // namespace

Peaks peaks_portable() {
  constexpr int kCount = 4096, kSteps = 8;
  alignas(64) static uint8_t x_values[kCount];
  alignas(64) static int8_t w_values[kCount];
  // The compiler must not know what lies there.
  uint8_t* volatile x_start = x_values;
  int8_t* volatile w_start = w_values;
  const double products = shortest_run(kRuns, [&] {
    int32_t sum = 0;
    for (int step = 0; step < kSteps; ++step) {
      const uint8_t* const x = x_start;
      const int8_t* const w = w_start;
      for (int i = 0; i < kCount; ++i) sum += x[i] * w[i];
    }
    sink = sum;
  });
  constexpr int kLanes = 64;
  float lanes[kLanes] = {};
  float factor = 0.5f;
  const double fmas = shortest_run(kRuns, [&] {
    for (int step = 0; step < kCount; ++step)
      for (int j = 0; j < kLanes; ++j) lanes[j] = lanes[j] * factor + 1.0f;
    sink = lanes[kLanes / 2];
  });
  return {2.0 * kCount * kSteps / products, 2.0 * kCount * kLanes / fmas};
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
  const std::vector<uint8_t> buffer(bytes, 1);
  const int times = static_cast<int>(kLeastBytes / bytes + 1);
  // The C library looks for a byte that is not there as fast as this machine can read.
  const double seconds = shortest_run(8, [&] {
    const void* found = nullptr;
    for (int i = 0; i < times; ++i) {
      const void* volatile start = buffer.data();
      found = std::memchr(start, 0, bytes);
    }
    sink = found != nullptr;
  });
  return double(times) * double(bytes) / seconds;
}

}  // namespace fewbit
