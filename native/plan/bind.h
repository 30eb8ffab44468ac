// Ops of a plan as the kernels take them: views become pointers and strides for the images of one pass.
#pragma once

#include <optional>

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
#include "plan/plan.h"

namespace fewbit {

// Where the images [first, first + images) of a run lie.
struct Pass {
  const Plan& plan;
  uint8_t* arena;
  const uint8_t* input;
  uint8_t* output;
  int images;
};

inline const uint8_t* at(const Pass& pass, const View& view, int image) {
  const ptrdiff_t offset = view.offset + image * view.image_stride;
  switch (view.space) {
    case Space::arena:
      return pass.arena + offset;
    case Space::input:
      return pass.input + offset;
    case Space::output:
      return pass.output + offset;
    case Space::blob:
      break;
  }
  return pass.plan.blobs[view.blob]->data() + offset;
}

template <class T>
T* pointer(const Pass& pass, const View& view, int image) {
  return reinterpret_cast<T*>(const_cast<uint8_t*>(at(pass, view, image)));
}

template <class T = float>
T* pointer(const Pass& pass, const Constant& constant) {
  return reinterpret_cast<T*>(pass.plan.blobs[constant.blob]->data() + constant.offset);
}

inline Encoder encoder(const Pass& pass, const PlanEncoder& e) {
  return {e.inverse_step,
          e.low,
          e.high,
          e.offset,
          e.table ? pointer<uint8_t>(pass, *e.table) : nullptr,
          e.inverse_steps ? pointer(pass, *e.inverse_steps) : nullptr,
          e.fine_every};
}

// The images from `first` of a pass as one matrix; `all` when that is every image.
struct Rows {
  int first;
  bool all;
  int images;

  int count(const View& view) const { return view.rows * images; }
  template <class T>
  ptrdiff_t stride(const View& view) const {
    return (all && view.rows == 1 ? view.image_stride : view.row_stride) / ptrdiff_t(sizeof(T));
  }
};

// Of a window, or of the image.
template <class Op>
int tokens(const Op& op) {
  return op.q.rows / (op.windows ? op.windows->count : 1);
}

// Biases with queries and keys exchanged into a plan that is valid, for kernels that ask for them.
void exchange_biases(Plan* plan);
// Their bytes.
size_t exchanged_bytes(const Plan& plan);

LinearCodes bind(const LinearCodesOp& plan, const Pass& pass, const Rows& rows);
LinearF32 bind(const LinearF32Op& plan, const Pass& pass, const Rows& rows);
LayerNorm bind(const LayerNormOp& plan, const Pass& pass, const Rows& rows);
LayerNormCodes bind(const LayerNormCodesOp& plan, const Pass& pass, const Rows& rows);
Patchify bind(const PatchifyOp& plan, const Pass& pass, const Rows& rows);
Pointwise bind(const PointwiseOp& plan, const Pass& pass, const Rows& rows);
LayerNormGradient bind(const LayerNormGradientOp& plan, const Pass& pass, const Rows& rows);
ProductSum bind(const ProductSumOp& plan, const Pass& pass, const Rows& rows);
CopyRows bind(const CopyRowsOp& plan, const Pass& pass, const Rows& rows);
Observe bind(const ObserveOp& plan, const Pass& pass, const Rows& rows);
AttentionCodes bind(const AttentionCodesOp& plan, const Pass& pass);
AttentionF32 bind(const AttentionF32Op& plan, const Pass& pass);
AttentionGradient bind(const AttentionGradientOp& plan, const Pass& pass);
Gather bind(const GatherOp& plan, const Pass& pass, const Rows& rows);
Mean bind(const MeanOp& plan, const Pass& pass, const Rows& rows);

}  // namespace fewbit
