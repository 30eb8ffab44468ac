// Speed of attention of every path that runs here on the shape of DeiT-Small (197 tokens, 6 heads of 64), one thread, beside
// the peak of the core measured in the same process; then what softmax, gelu, encode and LayerNorm cost an element.
// GOP/s counts the two products only: 4 tokens^2 head_width operations a head; the softmax between them is in the time.
//
//   attention_bench [path [tokens [heads [head_width]]]]
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>

#include "cpu/kernels.h"
#include "cpu/peaks.h"
#if FEWBIT_X86
#include "../../test/native/simd_arrays.h"
#endif

namespace {

using namespace fewbit;

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
  for (int i = 0; i < 10 || (total < 0.4 && i < 20000); ++i) {
    const auto begin = Clock::now();
    run();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = seconds < best ? seconds : best;
    total += seconds;
  }
  return best;
}

void print(const char* path, const char* what, double operations, double seconds, double peak) {
  std::printf("%-10s %-32s %8.3f ms  %7.1f GOP/s", path, what, seconds * 1e3, operations / seconds * 1e-9);
  if (peak > 0) std::printf("  %5.1f %% of %.0f", 100e-9 * operations / seconds / peak, peak);
  std::printf("\n");
}

void bench_attention(const Path& path, int tokens, int heads, int head_width, double peak_codes, double peak_floats) {
  const int width = heads * head_width;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const double operations = 4.0 * tokens * tokens * width;

  Aligned<uint8_t> qkv(size_t(tokens) * 3 * width), y(size_t(tokens) * width), table(kEncodeTable);
  Aligned<uint8_t> scratch(attention_codes_scratch(tokens, head_width) + attention_f32_scratch(tokens, head_width));
  Aligned<float> scale(3 * heads);
  for (int i = 0; i < tokens * 3 * width; ++i)
    qkv.get()[i] = static_cast<uint8_t>(std::fmax(0, std::fmin(255, 128 + 30 * normal(random))));
  for (int i = 0; i < kEncodeTable; ++i) table.get()[i] = static_cast<uint8_t>(i / 2 & ~3);
  for (int h = 0; h < heads; ++h) {
    scale.get()[h] = 2.0f / (900.0f * std::sqrt(float(head_width)));
    scale.get()[heads + h] = 255.0f;
    scale.get()[2 * heads + h] = 1.0f / 255;
  }
  AttentionCodes codes = {};
  codes.images = 1, codes.heads = heads, codes.tokens = tokens, codes.head_width = head_width;
  codes.q = qkv.get(), codes.k = codes.q + width, codes.v = codes.k + width;
  codes.q_stride = codes.k_stride = codes.v_stride = 3 * width;
  codes.logit_scale = scale.get(), codes.p_inverse_step = scale.get() + heads, codes.output_scale = scale.get() + 2 * heads;
  codes.y = y.get(), codes.y_stride = width;
  const char* const kinds[] = {"codes, uniform",        "codes, by tables",
                               "codes, relative",       "codes, relative, by tables",
                               "codes, logits rounded", "codes, logits rounded, by tables",
                               "codes, as in Swin",     "codes, as in Swin, by tables"};
  Aligned<float> bias(size_t(heads) * tokens * tokens), by_key(size_t(heads) * tokens * bias_by_key_row(tokens));
  for (int i = 0; i < heads * tokens * tokens; ++i) bias.get()[i] = normal(random);
  exchange_bias(bias.get(), heads, tokens, by_key.get());
  for (int kind = 0; kind < 8; ++kind) {
    codes.encode_p = {0.0f, 0, 255, 0, kind % 2 ? table.get() : nullptr};
    codes.encode = {1.0f, -128, 127, 128, kind % 2 ? table.get() : nullptr};
    codes.relative = kind / 2 % 2 == 1;
    if (kind == 6) codes.windows.bias = bias.get(), codes.windows.bias_by_key = by_key.get();
    codes.logit_step = kind >= 4 ? 0.125f : 0.0f;
    codes.logit_inverse_step = kind >= 4 ? 8.0f : 0.0f;
    const double seconds = best_seconds([&] {
      for (int task = 0; task < attention_tasks(codes); ++task) path.kernels->attention_codes(codes, task, scratch.get());
    });
    print(path.name, kinds[kind], operations, seconds, peak_codes);
  }

  Aligned<float> edge(size_t(tokens) * 3 * width), y_float(size_t(tokens) * width);
  for (int i = 0; i < tokens * 3 * width; ++i) edge.get()[i] = normal(random);
  AttentionF32 floats = {};
  floats.images = 1, floats.heads = heads, floats.tokens = tokens, floats.head_width = head_width;
  floats.q = edge.get(), floats.k = floats.q + width, floats.v = floats.k + width;
  floats.q_stride = floats.k_stride = floats.v_stride = 3 * width;
  for (int h = 0; h < heads; ++h) scale.get()[h] = 1.0f / std::sqrt(float(head_width));
  floats.scale = scale.get();
  floats.y = y_float.get(), floats.y_stride = width;
  const double seconds = best_seconds([&] {
    for (int task = 0; task < attention_tasks(floats); ++task) path.kernels->attention_f32(floats, task, scratch.get());
  });
  print(path.name, "floats", operations, seconds, peak_floats);
}

void bench_layernorm(const Path& path, int rows, int width) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  Aligned<float> x(size_t(rows) * width), gamma(width), beta(width), y(size_t(rows) * width);
  Aligned<uint8_t> codes(size_t(rows) * width);
  for (int i = 0; i < rows * width; ++i) x.get()[i] = normal(random);
  for (int i = 0; i < width; ++i) gamma.get()[i] = 1, beta.get()[i] = 0;
  LayerNorm op = {rows,  width,   x.get(), width,   gamma.get(), beta.get(),
                  1e-6f, y.get(), width,   nullptr, width,       {30.0f, -128, 127, 128, nullptr}};
  for (int kind = 0; kind < 2; ++kind) {
    if (kind) op.y_float = nullptr, op.y_codes = codes.get();
    const double seconds = best_seconds([&] {
      for (int task = 0; task < layernorm_tasks(rows); ++task) path.kernels->layernorm(op, task, nullptr);
    });
    std::printf("%-10s %-22s %8.3f ms  %7.3f ns an element\n", path.name, kind ? "LayerNorm to codes" : "LayerNorm to floats",
                seconds * 1e3, seconds * 1e9 / (double(rows) * width));
  }
}

#if FEWBIT_X86
void bench_elementwise(const SimdArrays& simd) {
  constexpr int kCount = 2048, kRepeats = 16;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  // One allocation with 1 KB between: outputs a few bytes ahead of inputs modulo 4 KB would delay the loads behind each store.
  Aligned<float> floats(2 * kCount + 256);
  float *const x = floats.get(), *const y = x + kCount + 256;
  uint8_t* const bytes = reinterpret_cast<uint8_t*>(y);
  Aligned<uint8_t> table(kEncodeTable);
  for (int i = 0; i < kCount; ++i) x[i] = -std::fabs(2 * normal(random));
  for (int i = 0; i < kEncodeTable; ++i) table.get()[i] = static_cast<uint8_t>(i / 2 & ~3);
  const Encoder uniform = {30.0f, -128, 127, 128, nullptr}, by_table = {30.0f, -128, 127, 128, table.get()};
  const auto report = [&](const char* what, auto run) {
    std::printf("%-10s %-22s %24.4f ns an element\n", simd.path, what,
                best_seconds([&] {
                  for (int i = 0; i < kRepeats; ++i) run();
                }) * 1e9 /
                    (kCount * kRepeats));
  };
  report("gelu", [&] { simd.gelu(x, y, kCount); });
  report("exp", [&] { simd.exp(x, y, kCount); });
  report("encode, uniform, 16", [&] { simd.encode(uniform, x, bytes, kCount); });
  if (simd.encode_by_64) report("encode, uniform, 64", [&] { simd.encode_by_64(uniform, x, bytes, kCount); });
  report("encode, table, 16", [&] { simd.encode(by_table, x, bytes, kCount); });
  if (simd.encode_by_64) report("encode, table, 64", [&] { simd.encode_by_64(by_table, x, bytes, kCount); });
}
#endif

}  // namespace

int main(int argc, char** argv) {
  const char* only = argc > 1 && *argv[1] ? argv[1] : nullptr;
  const int tokens = argc > 2 ? std::atoi(argv[2]) : 197, heads = argc > 3 ? std::atoi(argv[3]) : 6;
  const int head_width = argc > 4 ? std::atoi(argv[4]) : 64;
  std::printf("%d tokens x %d heads x %d\n", tokens, heads, head_width);
  for (const Path& path : paths()) {
    if (!path.runs || (only && std::strcmp(only, path.name) != 0)) continue;
    const Peaks peaks = measure_peaks(path);
    bench_attention(path, tokens, heads, head_width, peaks.int8 * 1e-9, peaks.floats * 1e-9);
    bench_layernorm(path, tokens, heads * head_width);
  }
#if FEWBIT_X86
  for (const SimdArrays& simd : {simd_arrays_avx2(), simd_arrays_avx512()})
    if (find_path(simd.path)->runs && (!only || std::strcmp(only, simd.path) == 0)) bench_elementwise(simd);
#endif
}
