// A linear layer of oneDNN on one thread, for comparison: u8 x s8 to floats with a step for each output, or floats; its
// weights packed as it likes best, outside of the time.
#pragma once

#include <functional>

// Empty when this was built without oneDNN.
std::function<void()> onednn_linear(int rows, int inputs, int outputs, bool codes);
