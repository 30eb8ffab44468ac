#include "cuda/ops/group_codes.h"

namespace fewbit::cuda {
namespace {

Launch launch(const char* kernel, const GroupCodesParams& p, int most) {
  const int64_t tiles = blocks_of(int64_t(p.pixels) * most, kGroupValues);
  return {kernel, {static_cast<unsigned>(tiles * p.images), static_cast<unsigned>(p.groups), 1}, {kGroupThreads, 1, 1}, 0};
}

}  // namespace

Launch pack_groups_launch(const GroupCodesParams& p, int most, const Device&) { return launch("fewbit_pack_groups", p, most); }
Launch unpack_groups_launch(const GroupCodesParams& p, int most, const Device&) {
  return launch("fewbit_unpack_groups", p, most);
}

}  // namespace fewbit::cuda
