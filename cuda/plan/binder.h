// From the ops of a plan to launches with their parameters, for a number of images.
#pragma once

#include <cstring>
#include <vector>

#include "cuda/ops/device.h"
#include "cuda/plan/constants.h"
#include "plan/plan.h"

namespace fewbit::cuda {

// One launch, ready but for its function.
struct Step {
  Launch launch;
  std::vector<uint8_t> params;
  size_t op;  // of the plan, the first of
  int ops;    // that are done
};

// Where the spaces of a plan lie on the device.
struct Spaces {
  DevicePointer arena, input, output;
  uint8_t* workspace;
  unsigned* counters;
};

// Before there is memory: addresses that are aligned as those of memory are, and not null where that means something.
constexpr Spaces kNowhere = {256, 256, 256, nullptr, nullptr};

struct Program {
  std::vector<Step> steps;
  Workspace workspace;  // the most that a step wants
};

// Throws std::invalid_argument that names the op when there is no kernel for it.
Program bind(const Plan& plan, int images, const Spaces& spaces, const Device& device, Constants& constants);

// Throws as bind() does.
void check_kernels(const Plan& plan, const Device& device);

}  // namespace fewbit::cuda
