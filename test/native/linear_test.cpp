// Every implementation of the linear layers against the reference. Codes: equal bits. Floats: a derived bound.
#include <doctest/doctest.h>

#include <cfloat>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cpu/kernels.h"
#include "ops/numeric.h"

using namespace fewbit;

namespace fewbit::emulated {
void linear_codes_amx(const LinearCodes& op, int task, void* scratch);
void linear_codes_avxvnni(const LinearCodes& op, int task, void* scratch);
}  // namespace fewbit::emulated

namespace {

// The edges of tiles, blocks and vectors.
const int kRowEdges[] = {1, 2, 3, 5, 6, 7, 15, 16, 17, 25, 31, 32, 33, 95, 96, 97, 111, 112, 113, 197};
const int kInputEdges[] = {1, 3, 4, 31, 32, 33, 63, 64, 65, 96, 160, 192};
const int kOutputEdges[] = {1, 15, 16, 17, 33, 37, 63, 64, 65, 130};

// Exactly `count` elements and not a byte more, at a multiple of 64, so that the address sanitizer sees every read beyond.
template <class T>
class Aligned {
 public:
  explicit Aligned(size_t count) : count_(count), data_(allocate(count * sizeof(T))) {}
  T* data() const { return data_.get(); }
  size_t size() const { return count_; }

 private:
  static T* allocate(size_t bytes) {
    void* p = nullptr;
    if (posix_memalign(&p, 64, bytes ? bytes : 1) != 0) throw std::bad_alloc();
    return static_cast<T*>(p);
  }
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  size_t count_;
  std::unique_ptr<T, Free> data_;
};

using LinearCodesTask = void (*)(const LinearCodes&, int, void*);
struct Implementation {
  std::string name;
  LinearCodesTask run;
};

std::vector<Implementation> implementations() {
  std::vector<Implementation> list;
  for (const Path& path : paths())
    if (path.runs) list.push_back({path.name, path.kernels->linear_codes});
#if FEWBIT_X86
  if (find_path("avx512vnni")->runs) {
    list.push_back({"amx emulated", emulated::linear_codes_amx});
    list.push_back({"avxvnni emulated", emulated::linear_codes_avxvnni});
  }
#endif
  return list;
}

struct CodesCase {
  int rows, inputs, outputs, bits;
  bool gelu, residual, alias, y_float, table;
  int offset;
  bool extreme;  // x = 255, w = smallest
  bool residual_codes, steps, pre_activation;
  int highest = 100;   // level before the activation
  int fine_every = 0;  // rows; with a table
};

// One case: its operands, what the reference makes of them, and what an implementation makes of them. Rows of y lie at an
// odd distance at an odd address, with guard bytes between.
class CodesFixture {
 public:
  explicit CodesFixture(const CodesCase& c, unsigned seed)
      : c_(c),
        x_stride_(ceil_div(c.inputs, 64) * 64 + 64 * int(seed % 3)),
        x_(size_t(c.rows - 1) * x_stride_ + ceil_div(c.inputs, 64) * 64),
        weight_(packed_bytes(c.outputs, c.inputs, c.bits)),
        correction_(ceil_div(c.outputs, 16) * 16),
        scale_(correction_.size()),
        bias_(correction_.size()),
        gain_(correction_.size()),
        residual_scale_(correction_.size()),
        inverse_steps_(correction_.size()),
        factors_(correction_.size()),
        residual_(size_t(c.rows - 1) * residual_stride() + c.outputs),
        residual_codes_(residual_.size()),
        scratch_(linear_codes_scratch(c.inputs)) {
    std::mt19937 random(seed);
    const auto uniform = [&] { return float(random() % 20001) / 10000.0f - 1.0f; };
    const int half = 1 << (c.bits - 1);
    for (size_t i = 0; i < x_.size(); ++i) x_.data()[i] = static_cast<uint8_t>(c.extreme ? 255 : random());
    std::vector<int8_t> codes(size_t(c.outputs) * c.inputs);
    for (auto& w : codes) w = static_cast<int8_t>(c.extreme ? -half : int(random() % (2 * half)) - half);
    pack_weight(codes.data(), c.outputs, c.inputs, c.bits, weight_.data());
    const float sum_deviation = 74.0f * 0.6f * float(half) * std::sqrt(float(c.inputs));
    for (size_t o = 0; o < scale_.size(); ++o) {
      int32_t sum = 0;
      for (int i = 0; i < c.inputs && int(o) < c.outputs; ++i) sum += codes[o * c.inputs + i];
      correction_.data()[o] = -128 * sum;
      scale_.data()[o] = 2.0f / sum_deviation * (1.5f + uniform());
      bias_.data()[o] = uniform();
      gain_.data()[o] = 1.5f + uniform();
      residual_scale_.data()[o] = 0.02f * float(1 + random() % 4);
      inverse_steps_.data()[o] = 30.0f * float(1 + random() % 4);
      factors_.data()[o] = float(1 << random() % 8) / 2;
    }
    for (size_t i = 0; i < residual_codes_.size(); ++i) residual_codes_.data()[i] = static_cast<uint8_t>(random());
    for (size_t i = 0; i < residual_.size(); ++i) residual_.data()[i] = uniform();
    for (auto& byte : table_) byte = static_cast<uint8_t>(random());
  }

  // The bytes of y, guards included, after `run(op)`.
  template <class Run>
  std::vector<uint8_t> result(Run run) {
    const size_t item = c_.y_float ? sizeof(float) : 1;
    const ptrdiff_t y_stride = c_.alias ? residual_stride() : c_.outputs + 3 - c_.outputs % 2;  // odd
    std::vector<uint8_t> bytes(kGuard + item + size_t(c_.rows) * y_stride * item + kGuard, 0xCD);
    uint8_t* y = bytes.data() + kGuard + item;  // at a multiple of the item's size and of nothing else
    float* y_float = reinterpret_cast<float*>(y);
    if (c_.alias && c_.y_float) std::memcpy(y, residual_.data(), residual_.size() * sizeof(float));
    if (c_.alias && !c_.y_float) std::memcpy(y, residual_codes_.data(), residual_codes_.size());
    LinearCodes op = {};
    op.rows = c_.rows, op.inputs = c_.inputs, op.outputs = c_.outputs;
    op.row_groups = c_.inputs % 4;
    op.x = x_.data(), op.x_stride = x_stride_;
    op.weight = weight_.data(), op.weight_bits = c_.bits;
    op.correction = correction_.data(), op.scale = scale_.data(), op.bias = bias_.data();
    op.activation = c_.gelu ? Activation::gelu : Activation::none;
    if (c_.rows % 2) op.gain = gain_.data();
    if (c_.residual && c_.residual_codes)
      op.residual_codes = c_.alias ? y : residual_codes_.data();
    else if (c_.residual)
      op.residual = c_.alias ? y_float : residual_.data();
    op.residual_stride = op.residual_codes_stride = residual_stride();
    op.residual_scale = residual_scale_.data(), op.residual_offset = c_.rows % 3 ? 128 : 0;
    const Rounding rounding = {40.0f, 0.025f, -c_.offset, c_.highest};
    if (c_.pre_activation) op.pre_activation = &rounding;
    if (c_.bits % 2) op.pre_activation_factors = factors_.data();
    if (c_.y_float)
      op.y_float = y_float, op.y_float_stride = y_stride;
    else
      op.y_codes = y, op.y_codes_stride = y_stride;
    op.encode = {37.0f,
                 -c_.offset,
                 200 - c_.offset,
                 c_.offset,
                 c_.table ? table_ : nullptr,
                 c_.steps ? inverse_steps_.data() : nullptr,
                 c_.fine_every};
    run(op);
    // Between the rows of y nothing may change.
    written_outside_ = false;
    for (size_t i = 0; i < bytes.size(); ++i) {
      const ptrdiff_t at = bytes.data() + i - y;
      const bool inside =
          at >= 0 && at < ptrdiff_t(c_.rows * y_stride * item) && at % ptrdiff_t(y_stride * item) < ptrdiff_t(c_.outputs * item);
      const bool copied = c_.alias && at >= 0 && at < ptrdiff_t(residual_.size() * item);
      if (!inside && !copied && bytes[i] != 0xCD) written_outside_ = true;
    }
    return bytes;
  }

  std::vector<uint8_t> result(const Implementation& implementation) {
    return result([&](const LinearCodes& op) {
      // Backwards: no task may need another.
      for (int task = linear_tasks(op.rows, op.outputs); task-- > 0;) implementation.run(op, task, scratch_.data());
    });
  }

  bool written_outside() const { return written_outside_; }

 private:
  static constexpr size_t kGuard = 64;
  int residual_stride() const { return c_.outputs + 5; }

  CodesCase c_;
  ptrdiff_t x_stride_;
  Aligned<uint8_t> x_, weight_;
  Aligned<int32_t> correction_;
  Aligned<float> scale_, bias_, gain_, residual_scale_, inverse_steps_, factors_, residual_;
  Aligned<uint8_t> residual_codes_, scratch_;
  uint8_t table_[kEncodeTable];
  bool written_outside_ = false;
};

void check_codes(const CodesCase& c, unsigned seed) {
  CodesFixture fixture(c, seed);
  const std::vector<uint8_t> expected = fixture.result(linear_codes_reference);
  for (const Implementation& implementation : implementations()) {
    const std::vector<uint8_t> actual = fixture.result(implementation);
    INFO(implementation.name, ": rows ", c.rows, " inputs ", c.inputs, " outputs ", c.outputs, " bits ", c.bits, " gelu ", c.gelu,
         " residual ", c.residual, " alias ", c.alias, " float ", c.y_float, " table ", c.table, " offset ", c.offset,
         " residual codes ", c.residual_codes, " steps ", c.steps, " pre-activation ", c.pre_activation, " fine every ",
         c.fine_every);
    size_t first = 0;
    while (first < expected.size() && expected[first] == actual[first]) ++first;
    CHECK_MESSAGE(first == expected.size(), "first different byte: ", first);
    CHECK(!fixture.written_outside());
  }
}

// Options that go through all combinations while k counts.
CodesCase codes_case(int rows, int inputs, int outputs, unsigned k) {
  CodesCase c = {rows,        inputs,      outputs,          int(2 + k % 7), bool(k & 1), bool(k & 2), false,
                 bool(k & 4), bool(k & 8), k & 16 ? 128 : 0, false,          k % 5 < 2,   k % 7 < 3,   k % 11 < 5};
  c.alias = c.residual && c.y_float != c.residual_codes && k % 3 == 0;
  return c;
}

// All pairs of edges, the third size and the options rotating.
template <class Check>
void for_edges(Check check) {
  unsigned k = 0;
  const auto rotate = [&](const auto& edges) { return edges[k % (sizeof edges / sizeof *edges)]; };
  for (int rows : kRowEdges)
    for (int inputs : kInputEdges) check(rows, inputs, rotate(kOutputEdges), k), ++k;
  for (int rows : kRowEdges)
    for (int outputs : kOutputEdges) check(rows, rotate(kInputEdges), outputs, k), ++k;
  for (int inputs : kInputEdges)
    for (int outputs : kOutputEdges) check(rotate(kRowEdges), inputs, outputs, k), ++k;
}

}  // namespace

TEST_CASE("linear tasks cover every output once") {
  for_edges([](int rows, int, int outputs, unsigned k) {
    std::vector<int> seen(size_t(rows) * outputs);
    LinearCodes op{};
    op.rows = rows, op.outputs = outputs;
    op.x_stride = k % 2 ? 64 : kFarBytes;
    op.row_groups = static_cast<int>(k / 2 % 4);
    for (int task = 0; task < linear_tasks(rows, outputs); ++task) {
      const Tile tile = linear_tile(op, task);
      for (int t = tile.row_begin; t < tile.row_end; ++t)
        for (int o = tile.output_begin; o < tile.output_end; ++o) ++seen.at(size_t(t) * outputs + o);
    }
    CHECK(seen == std::vector<int>(seen.size(), 1));
  });
}

TEST_CASE("linear codes: the reference's bits at every edge") {
  for_edges([](int rows, int inputs, int outputs, unsigned k) { check_codes(codes_case(rows, inputs, outputs, k), k); });
}

TEST_CASE("linear codes: every width with every option") {
  for (int bits = 2; bits <= 8; ++bits) {
    for (unsigned k = 0; k < 32; ++k) {
      CodesCase c = codes_case(23, 96, 50, k);
      c.bits = bits;
      check_codes(c, k + 1000);
    }
  }
}

TEST_CASE("linear codes: residuals in codes, a step for each column and a rounding before the activation, in all combinations") {
  for (int outputs : {50, 64, 130}) {
    for (unsigned k = 0; k < 256; ++k) {
      CodesCase c = codes_case(23, 96, outputs, k % 32);
      c.residual_codes = k & 32, c.steps = k & 64, c.pre_activation = k & 128;
      c.alias = c.residual && c.y_float != c.residual_codes && k % 3 == 0;
      check_codes(c, k);
    }
  }
}

TEST_CASE("linear tasks share what is far") {
  const auto tile_of = [](int rows, ptrdiff_t inputs, int task) {
    LinearCodes op{};
    op.rows = rows, op.outputs = 4 * kTileOutputs, op.x_stride = inputs;
    return linear_tile(op, task);
  };
  const int rows = 8 * kTileRows;
  // Little x: the next task has the next rows and the same weights.
  CHECK(tile_of(rows, 64, 1).row_begin == kTileRows);
  CHECK(tile_of(rows, 64, 1).output_begin == 0);
  // Much: the next weights, unless those are more.
  CHECK(tile_of(rows, 2048, 1).row_begin == 0);
  CHECK(tile_of(rows, 2048, 1).output_begin == kTileOutputs);
  CHECK(tile_of(kTileRows + 1, 1 << 20, 1).row_begin == kTileRows);
}

TEST_CASE("linear tasks give each share of them rows of its own") {
  for (int rows : {2 * kTileRows, 5 * kTileRows + 1, 15 * kTileRows}) {
    LinearCodes op{};
    op.rows = rows, op.outputs = 3 * kTileOutputs, op.x_stride = 64, op.row_groups = 2;
    const int tiles = ceil_div(rows, kTileRows), tasks = linear_tasks(rows, op.outputs), parting = tiles / 2 * kTileRows;
    for (int task = 0; task < tasks; ++task) CHECK((linear_tile(op, task).row_begin < parting) == (task < tiles / 2 * 3));
    // Inside of it the next task has the next rows and the same weights.
    if (tiles > 3) CHECK(linear_tile(op, 1).row_begin == kTileRows);
    op.row_groups = tiles + 1;
    CHECK(linear_tile(op, 1).output_begin == kTileOutputs);
  }
}

TEST_CASE("linear codes: a rounding before the activation that tells the byte") {
  for (int outputs : {64, 130}) {
    for (int highest : {100, 127, 128, 255}) {  // 256 levels and more, from 0 and from -128
      for (unsigned k = 0; k < 8; ++k) {
        CodesCase c = {22,    96,          outputs,         8,     bool(k & 1), false, false,
                       false, bool(k & 2), k & 4 ? 128 : 0, false, false,       false, true};
        c.highest = highest;
        check_codes(c, k);
      }
    }
  }
}

TEST_CASE("linear codes: fine rows inside of blocks and tiles and at their edges") {
  const auto check_rows = [](int rows, int every) {
    for (int outputs : {50, 64, 130}) {
      for (unsigned k = 0; k < 16; ++k) {
        CodesCase c =
            codes_case(rows, 33, outputs, k % 4 + (k & 1 ? 16 : 0));  // without a residual some bytes follow from a level
        c.y_float = false, c.table = true, c.fine_every = every;
        c.bits = k & 4 ? 5 : 4, c.steps = k & 4, c.pre_activation = k & 8;
        c.alias = c.residual && c.residual_codes;
        check_codes(c, k);
      }
    }
  };
  for (int rows : {1, 2, 24, 37})
    for (int every : {1, 3, 6, 7}) check_rows(rows, every);
  for (int every : {111, 112, 113, 197}) check_rows(2 * 197, every);
}

TEST_CASE("linear codes: the largest sums") {
  for (int bits = 2; bits <= 8; ++bits) {
    for (int inputs : {33, 64, 4096}) {
      CodesCase c = {18, inputs, 33, bits, false, false, false, true, false, 0, true, false, false, false};
      check_codes(c, 5);
      c.y_float = false;
      check_codes(c, 5);
    }
  }
}

TEST_CASE("linear float: within the rounding of a sum") {
  for_edges([](int rows, int inputs, int outputs, unsigned k) {
    std::mt19937 random(k);
    const auto uniform = [&] { return float(random() % 20001) / 10000.0f - 1.0f; };
    const int padded = ceil_div(outputs, 16) * 16;
    const ptrdiff_t x_stride = inputs + k % 4, y_stride = outputs + 3, residual_stride = outputs + k % 3;
    Aligned<float> x((rows - 1) * x_stride + inputs), weight(size_t(padded) * inputs), bias(padded), gain(padded);
    Aligned<float> residual((rows - 1) * residual_stride + outputs);
    for (size_t i = 0; i < x.size(); ++i) x.data()[i] = uniform();
    for (size_t i = 0; i < residual.size(); ++i) residual.data()[i] = uniform();
    for (int o = 0; o < padded; ++o) {
      gain.data()[o] = 0.5f * uniform();
      bias.data()[o] = o < outputs ? uniform() : 0.0f;
      for (int i = 0; i < inputs; ++i) weight.data()[(o / 16 * inputs + i) * 16 + o % 16] = o < outputs ? uniform() : 0.0f;
    }
    LinearF32 op = {};
    op.rows = rows, op.inputs = inputs, op.outputs = outputs;
    op.x = x.data(), op.x_stride = x_stride, op.weight = weight.data(), op.bias = bias.data();
    op.activation = k & 1 ? Activation::gelu : Activation::none;
    op.gain = k & 4 ? gain.data() : nullptr;
    op.residual = k & 2 ? residual.data() : nullptr, op.residual_stride = residual_stride;
    op.y_stride = y_stride;
    const float guard = 12345.0f;
    std::vector<float> expected(rows * y_stride + 16, guard), actual;
    op.y = expected.data();
    linear_f32_reference(op);
    Aligned<uint8_t> scratch(linear_codes_scratch(inputs));
    for (const Path& path : paths()) {
      if (!path.runs) continue;
      actual.assign(expected.size(), guard);
      op.y = actual.data();
      for (int task = linear_tasks(rows, outputs); task-- > 0;) path.kernels->linear_f32(op, task, scratch.data());
      INFO(path.name, ": rows ", rows, " inputs ", inputs, " outputs ", outputs, " k ", k);
      double worst = 0;  // error over its bound
      bool untouched = true;
      for (ptrdiff_t at = 0; at < ptrdiff_t(expected.size()); ++at) {
        const ptrdiff_t t = at / y_stride, o = at % y_stride;
        if (t >= rows || o >= outputs) {
          untouched = untouched && actual[at] == guard;
          continue;
        }
        double magnitude = std::fabs(bias.data()[o]);
        for (int i = 0; i < inputs; ++i)
          magnitude += std::fabs(double(x.data()[t * x_stride + i]) * weight.data()[(o / 16 * inputs + i) * 16 + o % 16]);
        // A sum of n terms in any order is off by at most about n * eps / 2 times the sum of magnitudes, a product by
        // eps / 2 more; twice that pays for the slope of gelu (below 1.13). The addition of the residual rounds once, on
        // both sides. gelu itself may jump by its stated error between neighbouring arguments.
        double bound = (inputs + 2) * double(FLT_EPSILON) * magnitude + FLT_EPSILON * (std::fabs(expected[at]) + magnitude);
        if (op.activation == Activation::gelu) bound += 2e-6 * std::fmax(1.0, magnitude);
        worst = std::fmax(worst, std::fabs(double(actual[at]) - expected[at]) / bound);
        if (std::isnan(actual[at])) worst = INFINITY;
      }
      CHECK(worst <= 1.0);
      CHECK(untouched);
    }
  });
}
