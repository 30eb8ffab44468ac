// Linear layers on codes on the device against the reference: equal bits, and at most one step apart behind GELU, which is
// another approximation there.
#include "linear_codes_case.h"

#include <doctest/doctest.h>

#include <string>

using namespace fewbit;
using namespace fewbit::cuda;

namespace {

std::string text(const LinearCase& c) {
  const auto n = [](int value) { return std::to_string(value); };
  return n(c.images) + " x " + n(c.image_rows) + " rows, " + n(c.inputs) + " inputs, " + n(c.outputs) + " outputs, " + n(c.bits) +
         " bits, y " + (c.floats ? "floats" : n(c.levels) + " levels") + (c.gelu ? ", gelu" : "") + ", residual " +
         n(int(c.residual)) + (c.table ? ", table, fine every " + n(c.fine_every) : "") + (c.steps ? ", steps" : "") +
         (c.gain ? ", gain" : "") + (c.pre_activation ? ", rounded" : "") + (c.apart ? ", apart" : "") + ", gap " + n(c.gap) +
         ", offset " + n(c.offset);
}

void check(const LinearCase& c, unsigned seed) {
  LinearFixture fixture(c, seed);
  const std::vector<uint8_t> expected = fixture.expected(), got = fixture.result();
  INFO(text(c));
  CHECK(fixture.counters_are_zero());
  if (!c.gelu) {
    CHECK(got == expected);
    return;
  }
  double worst = 0;
  if (c.floats) {
    for (size_t i = 0; i < got.size(); i += sizeof(float)) {
      float a, b;
      std::memcpy(&a, &got[i], sizeof a), std::memcpy(&b, &expected[i], sizeof b);
      worst = std::max(worst, std::fabs(double(a) - b) / 3e-5 / (c.gain ? 2.5 : 1));
    }
  } else {
    for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::fabs(double(got[i]) - expected[i]));
  }
  CHECK(worst <= 1.0);
}

// Features of a layer by the bits of a number.
LinearCase with_features(LinearCase c, unsigned bits) {
  c.floats = bits & 1, c.gelu = bits & 2;
  c.residual = static_cast<Residual>(bits / 4 % 4 % 3);
  c.levels = bits & 16 ? 256 : 1 << (2 + bits % 5), c.offset = bits & 32 ? (bits & 64 ? 128 : 38) : 0;
  c.table = (bits & 192) == 192, c.steps = bits & 256, c.gain = (bits & 1536) == 1536, c.pre_activation = (bits & 6144) == 6144;
  if (c.table && bits & 65536) c.fine_every = c.image_rows;
  c.apart = (bits & 24576) == 24576, c.gap = bits & 32768 ? 0 : int(bits % 3);
  if (c.floats && c.residual == Residual::codes) c.residual = Residual::none;
  if (!c.floats && c.residual == Residual::floats) c.residual = Residual::codes;
  return c;
}

}  // namespace

TEST_CASE("linear layers on codes: every edge of rows, inputs, outputs and widths of weights") {
  unsigned seed = 0;
  for (int rows : {1, 15, 16, 17, 64, 65, 97, 130})
    for (int inputs : {1, 33, 64, 65, 128, 200})
      for (int outputs : {1, 8, 31, 32, 33, 100, 196}) {
        ++seed;
        std::mt19937 random(seed);
        const LinearCase c{1 + int(seed % 2), rows, inputs, outputs, 2 + int(seed % 7)};
        check(with_features(c, random()), seed);
      }
}

TEST_CASE("linear layers on codes: every tile") {
  for (int bits : {8, 5, 4})
    for (int rows : {1, 197, 800, 1576})
      for (int outputs : {96, 384, 1152})
        for (bool floats : {false, true}) check({1, rows, 192, outputs, bits, floats}, unsigned(rows + outputs));
}

TEST_CASE("linear layers on codes: layers side by side, and tables") {
  unsigned seed = 0;
  for (int rows : {1, 40, 100})
    for (int own : {32, 96, 160})
      for (int parts : {1, 2, 3})
        for (int bits : {4, 5, 8})
          for (bool table : {false, true}) {
            LinearCase c{1, rows, 200, own * parts, bits};
            c.parts = parts, c.table = table;
            if (table && own > 32) c.fine_every = own / 2;
            c.levels = ++seed % 3 ? 256 : 64, c.gelu = seed % 4 == 1, c.steps = seed % 5 < 2;
            check(c, seed);
          }
}

TEST_CASE("linear layers on codes: fine rows") {
  unsigned seed = 0;
  for (int rows : {1, 15, 16, 17, 65, 97, 197, 800})
    for (int outputs : {20, 96, 384})
      for (int bits : {4, 5, 8})
        for (int every : {1, 7, 64, 197, rows}) {
          LinearCase c{every == rows ? 1 + int(++seed % 3) : 1, rows, 65, outputs, bits};
          if (c.rows() > 800 || (rows == 800 && outputs == 384 && bits == 5)) continue;
          c.table = true, c.fine_every = every;
          c.gelu = seed % 4 == 1, c.steps = seed % 3 == 1, c.apart = seed % 5 == 1;
          if (seed % 7 == 1) c.residual = Residual::codes;
          if (seed % 2) c.levels = 64;
          check(c, ++seed);
        }
}

TEST_CASE("linear layers on codes: sums at the edge of their range") {
  for (int bits : {8, 5, 4}) {
    LinearCase c{1, 40, 3072, 64, bits, true};
    c.extreme = true;
    check(c, 7);
  }
}

TEST_CASE("linear layers on codes: products of nibbles") {
  for (int low : {0, 120, 125})
    for (int rows : {3, 100, 800, 1576})
      for (int outputs : {20, 96, 384})
        for (int bits : {2, 4}) {
          LinearCase c{1, rows, 200, outputs, bits, outputs == 96};
          c.x_low = low, c.x_levels = low == 125 ? 13 : 16;
          check(c, unsigned(rows + outputs + low));
        }
}
