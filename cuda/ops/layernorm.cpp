#include "cuda/ops/layernorm.h"

#include <algorithm>

namespace fewbit::cuda {
namespace {

// Enough to keep a multiprocessor busy; more would only read the constants more often.
constexpr unsigned kBlocks = 8;

template <class Params>
Launch launch(const Params& p, const Device& device, const char* const (&kernels)[3], int rows) {
  const int shared = (kLayerNormConstants + rows) * layernorm_pitch(p.width) * int(sizeof(float));
  // Longer rows, and their constants, are read from global memory again.
  const bool cached = shared <= kMostShared;
  const bool vectors = aligned(p.x, 4 * sizeof *p.x.data) && aligned(p.y_float, 16) && aligned(p.y_codes, 4);
  const unsigned blocks = std::min(blocks_of(p.rows, rows), kBlocks * static_cast<unsigned>(device.multiprocessors));
  return {kernels[!cached ? 2 : vectors ? 0 : 1], {blocks, 1, 1}, {kLayerNormThreads, 1, 1}, cached ? unsigned(shared) : 0};
}

}  // namespace

Launch layernorm_launch(const LayerNormParams& p, const Device& device) {
  return launch(p, device, {"fewbit_layernorm_vectors", "fewbit_layernorm_elements", "fewbit_layernorm_long"}, kLayerNormRows);
}

Launch layernorm_codes_launch(const LayerNormCodesParams& p, const Device& device) {
  return launch(p, device, {"fewbit_layernorm_codes_vectors", "fewbit_layernorm_codes_elements", "fewbit_layernorm_codes_long"},
                kLayerNormCodesRows);
}

}  // namespace fewbit::cuda
