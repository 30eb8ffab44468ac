// Counts allocations of this process, where the C library lets an executable stand before its malloc.
#pragma once

namespace fewbit {

// -1 where nobody counts.
long allocations();

}  // namespace fewbit
