// Codes cannot tell what is no number: the input is looked at before a run.
#pragma once

#include <cstdint>

#include "plan/threads.h"

namespace fewbit {

// input: [images][image_values]. Throws std::domain_error that names the first value that is not finite, and its image.
void require_finite(Team& team, int threads, const float* input, int64_t images, int64_t image_values);

}  // namespace fewbit
