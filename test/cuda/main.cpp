// Runs the tests on the first CUDA device. Without one, or without kernels, only those of the suite "host" run, and the reason
// is printed.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "cuda/driver/context.h"

int main(int argc, char** argv) {
  doctest::Context tests(argc, argv);
  fewbit::cuda::set_kernel_file(FEWBIT_FATBIN);
  try {
    fewbit::cuda::Context& context = fewbit::cuda::Context::of(0);
    const fewbit::cuda::Context::Scope scope(context);
    std::printf("CUDA device: %s\n", context.name().c_str());
    return tests.run();
  } catch (const std::exception& error) {
    std::printf("tests on a device are skipped: %s\n", error.what());
  }
  tests.setOption("test-suite", "host");
  return tests.run();
}
