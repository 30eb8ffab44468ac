// Requantization: from a float to the byte that is stored on an edge.
//
// A code is a set of 2^k integers (levels) times a step; the byte on an edge is level + offset, so that a byte is
// always unsigned and every matrix product is u8 x s8. Consumers subtract the offset again (LinearCodes::correction): a linear
// layer any, attention 128, all others 128 for codes with negative levels and 0 for the rest. An offset is even, so that it may
// be added before rounding half to even as well as after.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fewbit {

constexpr int kEncodeTable = 512;

struct Encoder {
  float inverse_step;  // 1 / step, > 0
  int low, high;       // smallest and largest level, with fine_every of fine rows; low + offset >= 0, high + offset <= 255
  int offset;          // even, 0..254
  // Null: the levels are all integers low..high, and
  //   byte = rne(min(max(x * inverse_step, low), high)) + offset          (round half to even)
  // Else kEncodeTable bytes on a grid of half steps, which is where the midpoints of integers lie, so this is the
  // nearest level exactly (a value on a midpoint goes up):
  //   byte = table[min(max(floor(2 * (x * inverse_step)) + 2 * offset, 0), 511)]
  // x * inverse_step is one float32 product in both. A NaN gives the byte of the smallest level.
  const uint8_t* table;
  // Null, or one for each column of the target, padded to a multiple of 16: replaces inverse_step. The linear layers and the
  // LayerNorms take it; it is null everywhere else.
  const float* inverse_steps = nullptr;
  // 0, or with a table: in rows t of the target with t % fine_every == 0 all integers low..high are levels, as without the table.
  // In attention t is the row in its image, and for P the query's; elsewhere rows of all images count on. The linear layers,
  // the LayerNorms and attention take it; it is 0 everywhere else.
  int fine_every = 0;
};

// The code of row t.
static inline Encoder encoder_of_row(const Encoder& code, ptrdiff_t t) {
  Encoder own = code;
  if (code.fine_every && t % code.fine_every == 0) own.table = nullptr;
  return own;
}

// A uniform code that a value passes through without being stored:
//   rne(min(max(x * inverse_step, low), high)) * step         (a zero keeps its sign)
struct Rounding {
  float inverse_step, step;  // > 0
  int low, high;
};

}  // namespace fewbit
