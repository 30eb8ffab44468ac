// Speed of the linear kernels of every path that runs here, on the shapes of DeiT-Small, one thread, beside the peak of
// the core measured in the same process: GOP/s = 2 rows inputs outputs / best time of many runs of all tasks.
//
//   linear_bench [path]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "cpu/kernels.h"
#include "peak.h"

namespace {

using namespace fewbit;

struct Shape {
  const char* name;
  int rows, inputs, outputs;
  Activation activation;
  bool residual;  // and floats out; else codes
};

constexpr Shape kShapes[] = {
    {"qkv", 197, 384, 1152, Activation::none, false},           {"proj + residual", 197, 384, 384, Activation::none, true},
    {"fc1", 197, 384, 1536, Activation::none, false},           {"fc1 + gelu", 197, 384, 1536, Activation::gelu, false},
    {"fc2 + residual", 197, 1536, 384, Activation::none, true},
};

template <class T>
struct Aligned {
  explicit Aligned(size_t count) : data(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 127) / 64 * 64))) {}
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data;
  T* get() { return data.get(); }
};

template <class Run>
double best_seconds(Run run) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9, total = 0;
  for (int i = 0; i < 10 || (total < 0.4 && i < 2000); ++i) {
    const auto begin = Clock::now();
    run();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = seconds < best ? seconds : best;
    total += seconds;
  }
  return best;
}

void print(const Path& path, const Shape& s, const char* weights, double seconds, double peak) {
  const double mop = 2e-6 * s.rows * s.inputs * s.outputs;
  std::printf("%-10s %-16s %-7s %4d x %4d x %4d = %6.1f MOP  %8.1f us  %7.1f GOP/s", path.name, s.name, weights, s.rows, s.inputs,
              s.outputs, mop, seconds * 1e6, mop * 1e-3 / seconds);
  if (peak > 0) std::printf("  %3.0f %% of %.0f", 100 * mop * 1e-3 / seconds / peak, peak);
  std::printf("\n");
}

void bench_codes(const Path& path, const Shape& s, int bits, bool table, double peak) {
  std::mt19937 random(1);
  const ptrdiff_t x_stride = ceil_div(s.inputs, 64) * 64;
  Aligned<uint8_t> x(s.rows * x_stride), y(size_t(s.rows) * s.outputs), weight(packed_bytes(s.outputs, s.inputs, bits));
  Aligned<uint8_t> scratch(linear_codes_scratch(s.inputs));
  Aligned<float> y_float(size_t(s.rows) * s.outputs);
  for (ptrdiff_t i = 0; i < s.rows * x_stride; ++i) x.get()[i] = uint8_t(random());
  for (size_t i = 0; i < packed_bytes(s.outputs, s.inputs, bits); ++i) weight.get()[i] = uint8_t(random());
  std::memset(y_float.get(), 0, sizeof(float) * s.rows * s.outputs);
  const std::vector<int32_t> correction(s.outputs + 16, 12);
  const std::vector<float> scale(s.outputs + 16, 1e-4f), bias(s.outputs + 16, 0.1f);
  std::vector<uint8_t> levels(kEncodeTable);
  for (int i = 0; i < kEncodeTable; ++i) levels[i] = uint8_t(i / 2);
  LinearCodes op{};
  op.rows = s.rows;
  op.inputs = s.inputs;
  op.outputs = s.outputs;
  op.x = x.get();
  op.x_stride = x_stride;
  op.weight = weight.get();
  op.weight_bits = bits;
  op.correction = correction.data();
  op.scale = scale.data();
  op.bias = bias.data();
  op.activation = s.activation;
  if (s.residual) {
    op.residual = op.y_float = y_float.get();
    op.residual_stride = op.y_float_stride = s.outputs;
  } else {
    op.y_codes = y.get();
    op.y_codes_stride = s.outputs;
    op.encode = {20.0f, -128, 127, 128, table ? levels.data() : nullptr};
  }
  const double seconds = best_seconds([&] {
    for (int task = 0; task < linear_tasks(s.rows, s.outputs); ++task) path.kernels->linear_codes(op, task, scratch.get());
  });
  char name[16];
  std::snprintf(name, sizeof name, "%d bits%s", bits, table ? " T" : "");
  print(path, s, name, seconds, peak);
}

void bench_f32(const Path& path, const Shape& s, double peak) {
  Aligned<float> x(size_t(s.rows) * s.inputs), y(size_t(s.rows) * s.outputs), weight(size_t(s.outputs + 15) / 16 * 16 * s.inputs);
  Aligned<uint8_t> scratch(linear_codes_scratch(s.inputs));
  for (int i = 0; i < s.rows * s.inputs; ++i) x.get()[i] = 1e-3f * float(i % 1000);
  for (int i = 0; i < s.outputs * s.inputs; ++i) weight.get()[i] = 1e-3f * float(i % 777);
  std::memset(y.get(), 0, sizeof(float) * s.rows * s.outputs);
  const std::vector<float> bias(s.outputs + 16, 0.1f);
  LinearF32 op{};
  op.rows = s.rows;
  op.inputs = s.inputs;
  op.outputs = s.outputs;
  op.x = x.get();
  op.x_stride = s.inputs;
  op.weight = weight.get();
  op.bias = bias.data();
  op.activation = s.activation;
  op.y = y.get();
  op.y_stride = s.outputs;
  const double seconds = best_seconds([&] {
    for (int task = 0; task < linear_tasks(s.rows, s.outputs); ++task) path.kernels->linear_f32(op, task, scratch.get());
  });
  print(path, s, "float", seconds, peak);
}

}  // namespace

int main(int argc, char** argv) {
  const Path* avx512 = find_path("avx512vnni");
  const double vnni = avx512->runs ? peak_vnni_gops() : 0, fma = avx512->runs ? peak_fma_gflops() : 0;
  std::printf("peak of one core, registers only: %.0f GOP/s (vpdpbusd zmm), %.0f GFLOP/s (vfmadd zmm)\n", vnni, fma);
  for (const Path& path : paths()) {
    if (!path.runs || (argc > 1 && std::strcmp(path.name, argv[1]) != 0)) continue;
    for (const Shape& shape : kShapes) {
      for (int bits : {8, 5, 4}) bench_codes(path, shape, bits, false, vnni);
      if (!shape.residual) bench_codes(path, shape, 8, true, vnni);
      bench_f32(path, shape, fma);
    }
  }
}
