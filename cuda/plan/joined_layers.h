// Linear layers that follow each other in a plan and read the same rows, such as queries, keys and values, as one.
#pragma once

#include <vector>

#include "cuda/ops/linear_codes.h"
#include "cuda/ops/linear_f32.h"
#include "cuda/plan/constants.h"

namespace fewbit::cuda {

// Whether both are of one x and differ in weights, places and codes alone.
bool joins(const LinearCodesOp& a, const LinearCodesOp& b);
bool joins(const LinearF32Op& a, const LinearF32Op& b);

// Turns the parameters of the first of layers into those of all: what they have for each output lies side by side.
void join(const Plan& plan, const std::vector<const LinearCodesOp*>& layers, Constants& constants, LinearCodesParams* params);

// Weights, too.
void join(const Plan& plan, const std::vector<const LinearF32Op*>& layers, Constants& constants, LinearF32Params* params);

// The weight of one layer, or of all.
void set_weight(const Plan& plan, const std::vector<const LinearCodesOp*>& layers, Constants& constants,
                LinearCodesParams* params);

}  // namespace fewbit::cuda
