// Speed of the linear kernels on one thread, on the shapes of DeiT-Small and on one row against more weights than a cache
// holds, beside oneDNN where it is installed, and the peak of the core measured in the same process. Prints a line of JSON
// for each row: the median of interleaved runs, in time of the processor, which other programs do not lengthen; operations =
// 2 rows inputs outputs.
//
//   linear_bench [path [shape]]     without them, all paths that run here and all shapes
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/peaks.h"
#include "onednn_linear.h"

namespace {

using namespace fewbit;

struct Shape {
  const char* name;
  int rows, inputs, outputs;
  // What oneDNN is not asked for: codes or a sum with the residual come out, behind GELU.
  bool fused = false;
  Activation activation = Activation::none;
  bool residual = false;
  bool rounded = false;  // before the activation, as a fully quantized model does
};

constexpr Shape kShapes[] = {
    {"qkv", 197, 384, 1152},
    {"proj", 197, 384, 384},
    {"fc1", 197, 384, 1536},
    {"fc2", 197, 1536, 384},
    {"qkv, 8 images", 1576, 384, 1152},
    {"fc1, 8 images", 1576, 384, 1536},
    {"fc2, 8 images", 1576, 1536, 384},
    {"one row", 1, 8192, 16384},
    {"qkv to codes", 197, 384, 1152, true},
    {"fc1, gelu, to codes", 197, 384, 1536, true, Activation::gelu},
    {"fc1, gelu of codes", 197, 384, 1536, true, Activation::gelu, false, true},
    {"fc2, residual", 197, 1536, 384, true, Activation::none, true},
};

constexpr double kSeconds = 0.5;  // for each shape and contestant
constexpr int kLeastRuns = 15, kMostRuns = 2000;

template <class T>
struct Aligned {
  explicit Aligned(size_t count) : data(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 127) / 64 * 64))) {}
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data;
  T* get() { return data.get(); }
};

struct Contestant {
  std::string who, weights;
  double peak;  // operations a second
  std::function<void()> run;
  std::vector<double> seconds{};
};

// What a run of the kernels on codes needs.
struct CodesRun {
  CodesRun(const Shape& s, int bits)
      : x(size_t(s.rows) * ceil_div(s.inputs, 64) * 64),
        y(size_t(s.rows) * s.outputs),
        weight(packed_bytes(s.outputs, s.inputs, bits)),
        scratch(linear_codes_scratch(s.inputs)),
        y_float(size_t(s.rows) * s.outputs),
        correction(s.outputs + 16, 12),
        scale(s.outputs + 16, 1e-4f),
        bias(s.outputs + 16, 0.1f) {
    std::mt19937 random(1);
    op.rows = s.rows, op.inputs = s.inputs, op.outputs = s.outputs;
    op.x_stride = ceil_div(s.inputs, 64) * 64;
    for (ptrdiff_t i = 0; i < s.rows * op.x_stride; ++i) x.get()[i] = uint8_t(random());
    for (size_t i = 0; i < packed_bytes(s.outputs, s.inputs, bits); ++i) weight.get()[i] = uint8_t(random());
    std::memset(y_float.get(), 0, sizeof(float) * s.rows * s.outputs);
    op.x = x.get();
    op.weight = weight.get();
    op.weight_bits = bits;
    op.correction = correction.data(), op.scale = scale.data(), op.bias = bias.data();
    op.activation = s.activation;
    if (s.rounded) op.pre_activation = &pre_activation;
    if (s.residual) op.residual = y_float.get(), op.residual_stride = s.outputs;
    if (s.fused && !s.residual) {
      op.y_codes = y.get(), op.y_codes_stride = s.outputs;
      op.encode = {20.0f, -128, 127, 128, nullptr, nullptr};
    } else {
      op.y_float = y_float.get(), op.y_float_stride = s.outputs;
    }
  }

  Aligned<uint8_t> x, y, weight, scratch;
  Aligned<float> y_float;
  std::vector<int32_t> correction;
  std::vector<float> scale, bias;
  Rounding pre_activation{20.0f, 0.05f, -128, 127};
  LinearCodes op{};
};

struct FloatsRun {
  explicit FloatsRun(const Shape& s)
      : x(size_t(s.rows) * s.inputs),
        y(size_t(s.rows) * s.outputs),
        weight(size_t(s.outputs + 15) / 16 * 16 * s.inputs),
        scratch(linear_codes_scratch(s.inputs)),
        bias(s.outputs + 16, 0.1f) {
    for (int i = 0; i < s.rows * s.inputs; ++i) x.get()[i] = 1e-3f * float(i % 1000);
    for (int i = 0; i < s.outputs * s.inputs; ++i) weight.get()[i] = 1e-3f * float(i % 777);
    std::memset(y.get(), 0, sizeof(float) * s.rows * s.outputs);
    op.rows = s.rows, op.inputs = s.inputs, op.outputs = s.outputs;
    op.x = x.get(), op.x_stride = s.inputs;
    op.weight = weight.get(), op.bias = bias.data();
    op.activation = s.activation;
    op.y = y.get(), op.y_stride = s.outputs;
    if (s.residual) op.residual = y.get(), op.residual_stride = s.outputs;
  }

  Aligned<float> x, y, weight;
  Aligned<uint8_t> scratch;
  std::vector<float> bias;
  LinearF32 op{};
};

void add_path(const Path& path, const Shape& shape, std::vector<Contestant>* contestants) {
  const Peaks peaks = measure_peaks(path);
  const int tasks = linear_tasks(shape.rows, shape.outputs);
  for (int bits : {8, 5, 4}) {
    const auto run = std::make_shared<CodesRun>(shape, bits);
    contestants->push_back({path.name, std::to_string(bits) + " bits", peaks.int8, [run, tasks, &path] {
                              for (int task = 0; task < tasks; ++task)
                                path.kernels->linear_codes(run->op, task, run->scratch.get());
                            }});
  }
  const auto run = std::make_shared<FloatsRun>(shape);
  contestants->push_back({path.name, "float", peaks.floats, [run, tasks, &path] {
                            for (int task = 0; task < tasks; ++task) path.kernels->linear_f32(run->op, task, run->scratch.get());
                          }});
}

void add_onednn(const Shape& shape, std::vector<Contestant>* contestants) {
  const Peaks peaks = measure_peaks(*find_path(nullptr));
  for (bool codes : {true, false}) {
    std::function<void()> run = onednn_linear(shape.rows, shape.inputs, shape.outputs, codes);
    if (run) contestants->push_back({"oneDNN", codes ? "8 bits" : "float", codes ? peaks.int8 : peaks.floats, std::move(run)});
  }
}

// Of the processor, for this thread.
double seconds_now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

void race(const Shape& shape, std::vector<Contestant> contestants) {
  double total = 0;
  const auto enough = [&](int round) {
    return round >= kMostRuns || (round >= kLeastRuns && total > kSeconds * double(contestants.size()));
  };
  for (int round = -1; !enough(round); ++round)
    for (Contestant& contestant : contestants) {
      const double begin = seconds_now();
      contestant.run();
      const double seconds = seconds_now() - begin;
      if (round < 0) continue;
      contestant.seconds.push_back(seconds);
      total += seconds;
    }
  const double operations = 2.0 * shape.rows * shape.inputs * shape.outputs;
  for (Contestant& contestant : contestants) {
    std::vector<double>& seconds = contestant.seconds;
    std::sort(seconds.begin(), seconds.end());
    const double median = seconds[seconds.size() / 2];
    std::printf("{\"shape\": \"%s\", \"rows\": %d, \"inputs\": %d, \"outputs\": %d, \"who\": \"%s\", \"weights\": \"%s\", ",
                shape.name, shape.rows, shape.inputs, shape.outputs, contestant.who.c_str(), contestant.weights.c_str());
    std::printf("\"microseconds\": %.2f, \"least\": %.2f, \"runs\": %zu, \"operationsPerSecond\": %.4e, \"peak\": %.4e}\n",
                median * 1e6, seconds.front() * 1e6, seconds.size(), operations / median, contestant.peak);
  }
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  for (const Shape& shape : kShapes) {
    if (argc > 2 && std::strcmp(shape.name, argv[2]) != 0) continue;
    std::vector<Contestant> contestants;
    for (const Path& path : paths())
      if (path.runs && (argc < 2 || std::strcmp(path.name, argv[1]) == 0)) add_path(path, shape, &contestants);
    if (!shape.fused) add_onednn(shape, &contestants);
    race(shape, std::move(contestants));
  }
}
