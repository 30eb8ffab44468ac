// The implementations of every op on one CPU path, and the choice of a path.
//
// A path runs here when it was built, the processor has its instructions and the operating system lets it use them. Which of
// those is used is the caller's decision; the default is the last that runs.
#pragma once

#include <vector>

#include "ops/attention.h"
#include "ops/attention_gradient.h"
#include "ops/copy_rows.h"
#include "ops/gather.h"
#include "ops/layernorm.h"
#include "ops/layernorm_gradient.h"
#include "ops/linear.h"
#include "ops/mean.h"
#include "ops/observe.h"
#include "ops/patchify.h"
#include "ops/pointwise.h"
#include "ops/product_sum.h"

namespace fewbit {

// Each function runs one task of its op (the task counts stand in the ops' headers). scratch: 64-byte aligned, of the size
// that the op's header gives, not shared with another thread.
struct Kernels {
  void (*linear_codes)(const LinearCodes& op, int task, void* scratch);
  void (*linear_f32)(const LinearF32& op, int task, void* scratch);
  void (*attention_codes)(const AttentionCodes& op, int task, void* scratch);
  void (*attention_f32)(const AttentionF32& op, int task, void* scratch);
  void (*layernorm)(const LayerNorm& op, int task, void* scratch);
  void (*layernorm_codes)(const LayerNormCodes& op, int task, void* scratch);
  void (*patchify)(const Patchify& op, int task, void* scratch);
  void (*pointwise)(const Pointwise& op, int task, void* scratch);
  void (*layernorm_gradient)(const LayerNormGradient& op, int task, void* scratch);
  void (*attention_gradient)(const AttentionGradient& op, int task, void* scratch);
  void (*product_sum)(const ProductSum& op, int task, void* scratch);
  bool bias_by_key;  // attention_codes reads AttentionWindows::bias_by_key
};

struct Path {
  const char* name;        // portable, avx2, avxvnni, avx512vnni, amx
  const Kernels* kernels;  // null when it was not built
  bool runs;
  const char* reason;  // why it does not run, or what it needs; a static string
};

// All paths, slowest first. The first call asks the kernel for permission to use AMX tiles.
struct PathList {
  const Path* begin_;
  int count;
  const Path* begin() const { return begin_; }
  const Path* end() const { return begin_ + count; }
};
PathList paths();

// The path of that name (look at `runs` before using it), or the fastest that runs when name is null or empty. Null when
// no path has that name.
const Path* find_path(const char* name);

// For the op of each kernel, by its name in plans, the slowest path with the same implementation. The path has to be built.
struct KernelOrigin {
  const char* op;
  const char* path;
};
std::vector<KernelOrigin> kernel_origins(const Path& path);

const Kernels* kernels_portable();
// These are built for x86-64 only; use paths().
const Kernels* kernels_avx2();
const Kernels* kernels_avxvnni();
const Kernels* kernels_avx512();
const Kernels* kernels_amx();

}  // namespace fewbit
