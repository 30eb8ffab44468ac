// The codes of the rows of a target (fine_every of ops/encode.h), to be chosen between outside of inner loops. Include
// simd_avx512.h or simd_avx2.h first.
#pragma once

#include "ops/encode.h"

namespace fewbit {
namespace {

struct FineRows {
  const int every;  // 0: none is

  explicit FineRows(const Encoder& code) : every(code.fine_every) {}

  bool is_fine(int t) const { return every && t % every == 0; }
  bool any(int begin, int end) const { return is_fine(begin) || run_end(begin, end) < end; }

  // The end of the rows from t on that have one code.
  int run_end(int t, int end) const {
    if (!every) return end;
    const int past = t % every, next = past ? t - past + every : t + 1;
    return next < end ? next : end;
  }

  // body(begin, end) for all rows, those of one code at a time.
  template <class Body>
  void for_runs(int begin, int end, Body body) const {
    for (int next; begin < end; begin = next) {
      next = run_end(begin, end);
      body(begin, next);
    }
  }
};

struct RowEncoders : FineRows {
  const EncoderF32x16 usual, fine;

  explicit RowEncoders(const Encoder& code) : FineRows(code), usual(code), fine(encoder_of_row(code, 0)) {}

  const EncoderF32x16& of(ptrdiff_t t) const { return is_fine(static_cast<int>(t)) ? fine : usual; }
};

}  // namespace
}  // namespace fewbit
