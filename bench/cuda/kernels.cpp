// Runs the kernels of a model's blocks on the first CUDA device and prints a line of JSON for each: what was computed, how it was
// launched, and how long it took; on a simulator, which has no clock worth looking at, 0. Usage: fewbit_cuda_bench [only], a part
// of
// "<model> <op> <bits>".
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>

#include "attention_codes_case.h"
#include "linear_codes_case.h"
#include "report.h"

using namespace fewbit;
using namespace fewbit::cuda;

namespace {

bool timed = false;
std::string only;

// Milliseconds of a launch: the median of some, each behind a write to more memory than caches hold.
double milliseconds(FunctionHandle function, void** arguments, const Launch& launch) {
  const size_t cache = size_t(256) << 20;
  DevicePointer scratch;
  EventHandle begin, end;
  FEWBIT_CUDA(allocate, &scratch, cache);
  FEWBIT_CUDA(event_create, &begin, 0);
  FEWBIT_CUDA(event_create, &end, 0);
  std::vector<float> times(21);
  for (float& each : times) {
    FEWBIT_CUDA(fill, scratch, 0, cache, nullptr);
    FEWBIT_CUDA(event_record, begin, nullptr);
    FEWBIT_CUDA(launch, function, launch.grid[0], launch.grid[1], launch.grid[2], launch.block[0], launch.block[1],
                launch.block[2], launch.shared, nullptr, arguments, nullptr);
    FEWBIT_CUDA(event_record, end, nullptr);
    FEWBIT_CUDA(context_synchronize);
    FEWBIT_CUDA(event_elapsed, &each, begin, end);
  }
  api().event_destroy(begin), api().event_destroy(end), api().free(scratch);
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

}  // namespace

bool fewbit::cuda::wanted(const Subject& subject) {
  return (subject.model + " " + subject.op + " " + std::to_string(subject.bits)).find(only) != std::string::npos;
}

void fewbit::cuda::report(const Subject& subject, double products, double bytes, const void* params, const Launch& launch) {
  const FunctionHandle function = Context::of(0).function(launch);
  void* arguments[] = {const_cast<void*>(params)};
  FEWBIT_CUDA(launch, function, launch.grid[0], launch.grid[1], launch.grid[2], launch.block[0], launch.block[1], launch.block[2],
              launch.shared, nullptr, arguments, nullptr);
  FEWBIT_CUDA(context_synchronize);
  const double time = timed ? milliseconds(function, arguments, launch) : 0;
  std::printf(
      "{\"model\":\"%s\",\"op\":\"%s\",\"bits\":%d,\"products\":%.0f,\"bytes\":%.0f,\"kernel\":\"%s\",\"blocks\":%u,\"threads\":%"
      "u,"
      "\"shared\":%u,\"milliseconds\":%g}\n",
      subject.model.c_str(), subject.op.c_str(), subject.bits, products, bytes, launch.kernel,
      launch.grid[0] * launch.grid[1] * launch.grid[2], launch.block[0] * launch.block[1] * launch.block[2], launch.shared, time);
  std::fflush(stdout);
}

namespace {

void linear(const std::string& model, const std::string& op, const LinearCase& c) {
  const Subject subject{model, op, c.bits};
  if (!wanted(subject)) return;
  LinearFixture fixture(c, 1);
  Mirror mirror;
  LinearCodesParams p = fixture.params(mirror);
  const Launch launch = linear_codes_launch(p, device());
  const double rows = c.rows(), products = rows * c.inputs * c.outputs;
  const double y = rows * c.outputs * (c.floats ? 4 : 1), residual = c.residual == Residual::none ? 0 : y;
  const double bytes = rows * c.inputs + double(c.inputs) * c.outputs * c.bits / 8 + 12.0 * c.outputs + y + residual;
  report(subject, products, bytes, p, launch);
}

// The four linear layers of a block, as partial coverage stores their edges. levels: of the codes that they read.
void linears(const std::string& model, int images, int tokens, int width, int bits, int levels = 256) {
  const auto layer = [&](int inputs, int outputs) {
    LinearCase c{images, tokens, inputs, outputs, bits};
    c.levels = levels;
    if (levels < 256) c.x_low = 128 - levels / 2, c.x_levels = levels;
    return c;
  };
  LinearCase c = layer(width, 3 * width);
  c.parts = 3, c.steps = true;
  linear(model, "qkv", c);
  c = layer(width, width), c.floats = true, c.residual = Residual::floats;
  linear(model, "projection", c);
  c = layer(width, 4 * width), c.gelu = true;
  linear(model, "fc1", c);
  c = layer(4 * width, width), c.floats = true, c.residual = Residual::floats;
  linear(model, "fc2", c);
}

// Layers whose end is not the usual one, and outputs that are no whole groups. Rows begin at multiples of 64 bytes.
void others() {
  LinearCase c{8, 197, 384, 1536, 8};
  c.gelu = c.table = true;
  linear("DeiT-Small", "fc1 to two scales", c);
  c = {8, 197, 1536, 384, 8};
  c.residual = Residual::codes, c.steps = true;
  linear("DeiT-Small", "fc2 to codes of the stream", c);
  c = {8, 197, 384, 391, 8};
  c.gap = 448 - c.outputs;
  linear("DeiT-Small, odd widths", "codes", c);
  c.residual = Residual::codes;
  linear("DeiT-Small, odd widths", "codes of the stream", c);
  c.residual = Residual::floats, c.floats = true, c.gap = 400 - c.outputs;
  linear("DeiT-Small, odd widths", "floats", c);
}

void attention(const std::string& model, const std::string& op, const AttentionCase& c) {
  const Subject subject{model, op, 8};
  if (!wanted(subject)) return;
  AttentionFixture fixture(c, 1);
  Mirror mirror;
  AttentionCodesParams p = fixture.params(mirror);
  const Launch launch = attention_codes_launch(p, device());
  const double tasks = double(c.images) * c.windows.count * c.heads;
  const double products = 2 * tasks * c.tokens * c.tokens * c.head_width;
  const double bias = c.windows.bias ? 4.0 * c.heads * c.tokens * c.tokens : 0;
  const double tables = (c.windows.rows ? 4.0 : 0) + (c.windows.regions ? 1.0 : 0);
  report(subject, products, 4 * tasks * c.tokens * c.head_width + bias + tables * c.windows.count * c.tokens, p, launch);
}

void run() {
  fewbit::cuda::set_kernel_file(FEWBIT_FATBIN);
  const fewbit::cuda::Context::Scope scope(Context::of(0));
  timed = Context::of(0).name().rfind("ptxsim", 0) != 0;
  std::printf("{\"device\":\"%s\",\"multiprocessors\":%d}\n", Context::of(0).name().c_str(), device().multiprocessors);
  AttentionCase heads{8, 6, 197, 64};
  attention("DeiT-Small", "attention", heads);
  heads.p_fine_levels = 128, heads.p_levels = 255;
  attention("DeiT-Small", "attention of two scales", heads);
  heads.p_fine_levels = 0, heads.p_levels = 16, heads.p_codebook = true;
  attention("DeiT-Small", "attention by a codebook", heads);
  heads = {8, 12, 197, 64};
  attention("ViT-Base", "attention", heads);
  heads = {8, 3, 49, 32};
  heads.windows = {64, true, true, true};
  attention("Swin-Tiny", "window attention", heads);
  attention("DeiT-Small, 384 x 384", "attention of one head", {1, 1, 577, 64});
  elementwise();
  for (int bits : {8, 5, 4}) {
    linears("DeiT-Small", 8, 197, 384, bits);
    linears("ViT-Base", 8, 197, 768, bits);
  }
  linears("DeiT-Small, codes of 4 bits", 8, 197, 384, 4, 16);
  others();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) only = argv[1];
  try {
    run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
