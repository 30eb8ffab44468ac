#include "cpu/peaks.h"

#include <doctest/doctest.h>

#include <string>

using namespace fewbit;

// Any processor does more than a million operations a second and fewer than 10^15: what was left out by the compiler is beyond.
TEST_CASE("peaks: every path that runs here has rates that a core can have") {
  for (const Path& path : paths()) {
    if (!path.runs) continue;
    CAPTURE(path.name);
    const Peaks peaks = measure_peaks(path);
    CHECK(peaks.int8 > 1e6);
    CHECK(peaks.int8 < 1e15);
    CHECK(peaks.floats > 1e6);
    CHECK(peaks.floats < 1e15);
  }
  CHECK(measure_read_speed(1) > 0);
  CHECK(measure_read_speed(1 << 16) > 1e6);
}

TEST_CASE("paths: a kernel comes from the slowest path that has it") {
  for (const KernelOrigin& origin : kernel_origins(*find_path("portable"))) CHECK(std::string(origin.path) == "portable");
  const Path* amx = find_path("amx");
  if (!amx->kernels) return;
  for (const KernelOrigin& origin : kernel_origins(*amx)) {
    if (std::string(origin.op) == "linearCodes") CHECK(std::string(origin.path) == "amx");
    if (std::string(origin.op) == "layernormGradient") CHECK(std::string(origin.path) == "portable");
  }
}
