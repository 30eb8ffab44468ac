#include "cuda/ops/layernorm.h"

namespace fewbit::cuda {
namespace {

// Shared memory that leaves room for several blocks on a multiprocessor; longer rows are read again.
constexpr int kMostShared = 48 << 10;

template <class Params>
bool vectors(const Params& p) {
  constexpr size_t x_bytes = 4 * sizeof *p.x.data;
  return p.width % 4 == 0 && aligned(p.x, x_bytes) && aligned(p.y_float, 16) && aligned(p.y_codes, 4);
}

}  // namespace

Launch layernorm_launch(const LayerNormParams& p, const Device&) {
  const int shared = kLayerNormRows * layernorm_pitch(p.width) * int(sizeof(float));
  const bool cached = shared <= kMostShared;
  const char* kernel = !cached ? "fewbit_layernorm_long" : vectors(p) ? "fewbit_layernorm_vectors" : "fewbit_layernorm_elements";
  return {kernel, {blocks_of(p.rows, kLayerNormRows), 1, 1}, {kLayerNormThreads, 1, 1}, cached ? unsigned(shared) : 0};
}

Launch layernorm_codes_launch(const LayerNormCodesParams& p, const Device&) {
  const int shared = kLayerNormCodesRows * layernorm_codes_pitch(p.width);
  const bool cached = shared <= kMostShared;
  const char* kernel = !cached      ? "fewbit_layernorm_codes_long"
                       : vectors(p) ? "fewbit_layernorm_codes_vectors"
                                    : "fewbit_layernorm_codes_elements";
  return {kernel, {blocks_of(p.rows, kLayerNormCodesRows), 1, 1}, {kLayerNormThreads, 1, 1}, cached ? unsigned(shared) : 0};
}

}  // namespace fewbit::cuda
