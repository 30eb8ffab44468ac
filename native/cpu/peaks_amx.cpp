#include "cpu/peaks.h"
#include "cpu/tile_amx.h"

namespace fewbit {
namespace {

constexpr int kSteps = 2000;
constexpr int kRuns = 300;

// Two tiles of rows by two of outputs.
void run_tiles() {
  TileConfig config;
  for (int t = 0; t < 8; ++t) config.set(t, 16, 64);
  tile_load_config(config);
  tile_zero<4>();
  tile_zero<5>();
  tile_zero<6>();
  tile_zero<7>();
  for (int i = 0; i < kSteps; ++i) {
    tile_dpbusd<0, 4, 6>();
    tile_dpbusd<1, 4, 7>();
    tile_dpbusd<2, 5, 6>();
    tile_dpbusd<3, 5, 7>();
  }
  tile_release();
}

}  // namespace

Peaks peaks_amx() {
  constexpr double kOperations = 2.0 * 16 * 16 * 64;
  return {4 * kSteps * kOperations / shortest_run(kRuns, run_tiles), peaks_avx512().floats};
}

}  // namespace fewbit
