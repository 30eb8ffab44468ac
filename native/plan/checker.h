// What every op of a plan has to keep to: whatever it reads and writes lies inside its buffers. For plan.cpp.
#pragma once

#include <climits>
#include <cmath>
#include <stdexcept>
#include <string>

#include "plan/plan.h"

namespace fewbit {
namespace {

constexpr int64_t round_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

// Sizes of weights and scratch are computed in int and size_t from widths; this keeps them far from overflow.
constexpr int kMaxWidth = 1 << 24;

enum Access { read, write };
enum Element : int { code = 1, f32 = 4 };

// Takes count * stride from room; false when it is not there. Every number here is at most 2^40 or an int, so a product
// could overflow and is not formed.
inline bool take(int64_t count, int64_t stride, int64_t* room) {
  if (stride && count > *room / stride) return false;
  *room -= count * stride;
  return true;
}

inline std::string shape(const View& view) { return std::to_string(view.rows) + " x " + std::to_string(view.width); }

class Checker {
 public:
  Checker(const Plan& plan, const PlanOp& op) : plan_(plan), op_(op) {}

  [[noreturn]] void fail(const std::string& field, const std::string& what) const {
    throw std::invalid_argument("plan op '" + op_.name + "' (" + op_kind(op_) + "): " + field + " " + what);
  }
  void require(bool good, const char* field, const std::string& what) const {
    if (!good) fail(field, what);
  }

  void view(const char* field, const View& v, Access access, Element element) const {
    require(v.rows >= 1 && v.width >= 1, field, "is empty (" + shape(v) + ")");
    require(v.width <= kMaxWidth, field, "is too wide (" + shape(v) + ")");
    require(int64_t(v.rows) * plan_.batch <= INT_MAX, field, "has too many rows (" + std::to_string(v.rows) + ")");
    const std::string aligned = "must be a multiple of " + std::to_string(element);
    require(v.offset >= 0 && v.offset % element == 0, field, "offset " + aligned + " and not negative");
    require(v.row_stride >= 0 && v.row_stride % element == 0, field, "rowStride " + aligned + " and not negative");
    require(v.image_stride >= 0 && v.image_stride % element == 0, field, "imageStride " + aligned + " and not negative");
    if (access == write) writable(field, v, int64_t(v.width) * element);
    inside(field, v, int64_t(v.width) * element);
  }

  // Codes that a matrix product reads in whole vectors.
  void operand(const char* field, const View& v) const {
    require(v.offset % 64 == 0 && v.row_stride % 64 == 0 && v.image_stride % 64 == 0, field,
            "offset, rowStride and imageStride must be multiples of 64");
    require(v.space == Space::arena || v.space == Space::blob, field,
            "must lie in the arena or in a blob: codes are read in vectors");
    view(field, v, read, code);
    inside(field, v, round_up(v.width, 64));
  }

  void same_shape(const char* field, const View& v, int rows, int width) const {
    if (v.rows != rows || v.width != width)
      fail(field, "is " + shape(v) + ", not " + std::to_string(rows) + " x " + std::to_string(width));
  }

  void constant(const char* field, const Constant& c, int64_t bytes) const {
    const int64_t size = blob_size(field, c.blob);
    require(c.offset >= 0 && c.offset % 64 == 0, field, "offset must be a multiple of 64 and not negative");
    if (c.offset > size || bytes > size - c.offset) {
      fail(field, "needs " + std::to_string(bytes) + " bytes at offset " + std::to_string(c.offset) + " of blob " +
                      std::to_string(c.blob) + ", which has " + std::to_string(size));
    }
  }

  // One that runs write.
  void state(const char* field, const Constant& c, int64_t bytes) const {
    constant(field, c, bytes);
    require(plan_.blobs[c.blob]->writable(), field, "is written and must not lie in a mapped file");
  }

  // columns: of a target whose kernel takes a step for each; 0 for the others. rows: likewise of an image, where some may be
  // fine.
  void encoder(const char* field, const PlanEncoder& e, int columns = 0, int rows = 0) const {
    require(e.inverse_step > 0 && std::isfinite(e.inverse_step), field, "inverseStep must be positive and finite");
    require(e.offset >= 0 && e.offset <= 254 && e.offset % 2 == 0, field, "offset must be even, in 0..254");
    require(e.low <= e.high && e.low + e.offset >= 0 && e.high + e.offset <= 255, field,
            "levels " + std::to_string(e.low) + ".." + std::to_string(e.high) + " with offset " + std::to_string(e.offset) +
                " do not fit a byte");
    if (e.table) constant((std::string(field) + ".table").c_str(), *e.table, kEncodeTable);
    require(e.fine_every == 0 || (e.table && e.fine_every == rows), field,
            "fineEvery must be the rows of an image, and needs a table");
    if (!e.inverse_steps) return;
    require(columns > 0, field, "must not have inverseSteps");
    constant((std::string(field) + ".inverseSteps").c_str(), *e.inverse_steps, round_up(columns, 16) * 4);
  }

  // A target, and what it holds. With `columns` each column may have a step of its own, and rows may be fine.
  enum Steps { one_step, columns };
  void target(const char* field, const View& y, const std::optional<PlanEncoder>& encode, Steps steps = one_step) const {
    view(field, y, write, encode ? code : f32);
    if (encode) encoder("encode", *encode, steps == columns ? y.width : 0, steps == columns ? y.rows : 0);
  }

  void residual(const std::optional<View>& r, const View& y, Element element = f32) const { optional("residual", r, y, element); }

  // Of the shape of y.
  void optional(const char* field, const std::optional<View>& v, const View& y, Element element = f32) const {
    if (!v) return;
    view(field, *v, read, element);
    same_shape(field, *v, y.rows, y.width);
  }

  // Returns the tokens of a window.
  int heads(int count, const View& q, const View& k, const View& v, const View& y,
            const std::optional<PlanWindows>& windows) const {
    require(count >= 1 && q.width % count == 0, "heads", "must divide the width of q (" + std::to_string(q.width) + ")");
    same_shape("k", k, q.rows, q.width);
    same_shape("v", v, q.rows, q.width);
    same_shape("y", y, q.rows, q.width);
    const int parts = windows ? windows->count : 1;
    require(parts >= 1 && q.rows % parts == 0, "windows.count", "must divide the rows of q (" + std::to_string(q.rows) + ")");
    require(int64_t(count) * parts <= INT_MAX / plan_.batch, "heads", "is too large");
    const int64_t tokens = q.rows / parts;
    if (!windows) return tokens;
    require(parts == 1 || !windows->rows.empty(), "windows.rows", "must be there when there are several windows");
    if (!windows->rows.empty()) every_row_once("windows.rows", windows->rows, q.rows);
    // None of the factors is above 2^24 where a constant of that size exists.
    require(tokens <= kMaxWidth, "windows", "hold too many tokens (" + std::to_string(tokens) + ")");
    if (windows->bias) {
      require(count <= kMaxPlanBytes / 4 / tokens / tokens, "windows.bias", "is too large");
      constant("windows.bias", *windows->bias, count * tokens * tokens * 4);
    }
    if (windows->regions) constant("windows.regions", *windows->regions, q.rows);
    return static_cast<int>(tokens);
  }

  // Rows of an index table that is read, all in the range -1..rows - 1.
  void rows_inside(const char* field, const std::vector<int32_t>& table, int rows) const {
    for (int32_t row : table) {
      if (row < -1 || row >= rows) fail(field, "names row " + std::to_string(row) + ", and there are " + std::to_string(rows));
    }
  }

  // Where attention keeps a number for each window, head, query and key.
  void probabilities(const std::optional<View>& p, const View& q, int heads, int tokens) const {
    if (!p) return;
    view("probabilities", *p, write, f32);
    require(q.rows <= INT_MAX / heads, "heads", "is too large");
    same_shape("probabilities", *p, heads * q.rows, tokens);
  }

 private:
  // Rows are written once, by one task each.
  void every_row_once(const char* field, const std::vector<int32_t>& table, int rows) const {
    require(table.size() == size_t(rows), field, "must name " + std::to_string(rows) + " rows");
    std::vector<bool> seen(rows);
    for (int32_t row : table) {
      if (row < 0 || row >= rows || seen[row]) fail(field, "must name every row once (" + std::to_string(row) + ")");
      seen[row] = true;
    }
  }

  int64_t blob_size(const char* field, int blob) const {
    require(blob >= 0 && size_t(blob) < plan_.blobs.size(), field,
            "names blob " + std::to_string(blob) + ", and there are " + std::to_string(plan_.blobs.size()));
    return static_cast<int64_t>(plan_.blobs[blob]->size());
  }

  void writable(const char* field, const View& v, int64_t row_bytes) const {
    require(v.space == Space::arena || v.space == Space::output, field, "is written and must lie in the arena or the output");
    require(v.rows == 1 || v.row_stride >= row_bytes, field, "rowStride is shorter than a row: rows would overlap");
    require(plan_.batch == 1 || v.image_stride >= row_bytes, field, "imageStride is shorter than a row: images would overlap");
  }

  // Every row of every image of a pass, where the last `row_bytes` bytes of a row may be read or written.
  void inside(const char* field, const View& v, int64_t row_bytes) const {
    int64_t size = plan_.arena_bytes;
    int64_t images = plan_.batch;
    const char* space = "the arena";
    if (v.space == Space::blob) {
      size = blob_size(field, v.blob);
      space = "its blob";
    } else if (v.space != Space::arena) {
      // As many images as the caller's array holds: it is enough to look at one.
      const bool input = v.space == Space::input;
      size = input ? plan_.input_bytes : plan_.output_bytes;
      space = input ? "the input of an image" : "the output of an image";
      images = 1;
      require(v.image_stride == size, field, std::string("imageStride must be ") + (input ? "inputBytes" : "outputBytes"));
    }
    int64_t room = size;
    if (!take(1, v.offset, &room) || !take(1, row_bytes, &room) || !take(images - 1, v.image_stride, &room) ||
        !take(v.rows - 1, v.row_stride, &room)) {
      fail(field, "(" + shape(v) + " at offset " + std::to_string(v.offset) + ", rowStride " + std::to_string(v.row_stride) +
                      ", imageStride " + std::to_string(v.image_stride) + ") does not fit " + space + " (" +
                      std::to_string(size) + " bytes)");
    }
  }

  const Plan& plan_;
  const PlanOp& op_;
};

}  // namespace
}  // namespace fewbit
