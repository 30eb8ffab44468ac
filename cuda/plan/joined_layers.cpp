#include "cuda/plan/joined_layers.h"

#include <algorithm>
#include <cstring>

namespace fewbit::cuda {
namespace {

// Tell what is written from what the host has at the same place (Constants::put).
enum Order : int { kWeightToCodes = 1, kWeightToFloats, kSideBySide, kSteps, kParts };

bool same_rows(const View& a, const View& b) {
  return a.rows == b.rows && a.width == b.width && a.row_stride == b.row_stride && a.image_stride == b.image_stride;
}

bool same(const View& a, const View& b) {
  return a.space == b.space && a.blob == b.blob && a.offset == b.offset && same_rows(a, b);
}

// `count` elements of each host array.
template <class T>
const T* side_by_side(const std::vector<const uint8_t*>& arrays, size_t count, Constants& constants) {
  const size_t bytes = count * sizeof(T);
  return pointer<const T>(constants.put(arrays[0], arrays.size() * bytes, kSideBySide, [=](uint8_t* to) {
    for (const uint8_t* array : arrays) {
      std::memcpy(to, array, bytes);
      to += bytes;
    }
  }));
}

}  // namespace

bool joins(const LinearCodesOp& a, const LinearCodesOp& b) {
  return same(a.x, b.x) && same_rows(a.y, b.y) && a.y.space == b.y.space && a.activation == b.activation && b.encode &&
         a.encode->table.has_value() == b.encode->table.has_value() && a.encode->fine_every == b.encode->fine_every;
}

bool joins(const LinearF32Op& a, const LinearF32Op& b) {
  return same(a.x, b.x) && same_rows(a.y, b.y) && a.y.space == b.y.space && a.activation == b.activation && a.y.width % 16 == 0 &&
         !a.gain && !b.gain && !a.residual && !b.residual;
}

void join(const Plan& plan, const std::vector<const LinearF32Op*>& layers, Constants& constants, LinearF32Params* p) {
  std::vector<const uint8_t*> weight, bias;
  for (const LinearF32Op* op : layers) {
    weight.push_back(host_bytes(plan, op->weight));
    bias.push_back(host_bytes(plan, op->bias));
  }
  const int own = p->outputs;
  p->part_outputs = own;
  p->outputs = own * int(layers.size());
  p->weight = side_by_side<float>(weight, size_t(own) * p->inputs, constants);
  p->bias = side_by_side<float>(bias, own, constants);
  p->parts = pointer<const int64_t>(constants.put(bias[0], layers.size() * sizeof(int64_t), kParts, [=](uint8_t* to) {
    auto* parts = reinterpret_cast<int64_t*>(to);
    for (const LinearF32Op* op : layers) *parts++ = (op->y.offset - layers[0]->y.offset) / int64_t(sizeof(float));
  }));
}

void join(const Plan& plan, const std::vector<const LinearCodesOp*>& layers, Constants& constants, LinearCodesParams* p) {
  std::vector<const uint8_t*> correction, scale, bias, tables, steps;
  for (const LinearCodesOp* op : layers) {
    correction.push_back(host_bytes(plan, op->correction));
    scale.push_back(host_bytes(plan, op->scale));
    bias.push_back(host_bytes(plan, op->bias));
    if (op->encode->table) tables.push_back(host_bytes(plan, *op->encode->table));
    steps.push_back(op->encode->inverse_steps ? host_bytes(plan, *op->encode->inverse_steps) : nullptr);
  }
  const int own = p->outputs;
  p->part_outputs = own;
  p->outputs = own * int(layers.size());
  p->correction = side_by_side<int32_t>(correction, own, constants);
  p->scale = side_by_side<float>(scale, own, constants);
  p->bias = side_by_side<float>(bias, own, constants);
  if (!tables.empty()) p->encode.table = side_by_side<uint8_t>(tables, kEncodeTable, constants);
  const size_t bytes = own * sizeof(float);
  p->encode.inverse_steps = pointer<const float>(constants.put(scale[0], layers.size() * bytes, kSteps, [=](uint8_t* to) {
    for (size_t i = 0; i < layers.size(); ++i, to += bytes) {
      if (steps[i])
        std::memcpy(to, steps[i], bytes);
      else
        std::fill_n(reinterpret_cast<float*>(to), own, layers[i]->encode->inverse_step);
    }
  }));
  p->parts = pointer<const LinearPart>(constants.put(scale[0], layers.size() * sizeof(LinearPart), kParts, [=](uint8_t* to) {
    auto* parts = reinterpret_cast<LinearPart*>(to);
    for (const LinearCodesOp* op : layers)
      *parts++ = {op->y.offset - layers[0]->y.offset, op->encode->low, op->encode->high, op->encode->offset};
  }));
}

void set_weight(const Plan& plan, const std::vector<const LinearCodesOp*>& layers, Constants& constants, LinearCodesParams* p) {
  std::vector<LinearWeight> weights;
  for (const LinearCodesOp* op : layers) {
    weights.push_back({host_bytes(plan, op->weight), op->weight_bits});
    p->weight_bits = std::max(p->weight_bits, op->weight_bits);
  }
  const bool to_codes = layers[0]->encode.has_value();
  const int outputs = layers[0]->y.width, inputs = p->inputs;
  p->weight =
      pointer<const uint8_t>(constants.put(weights[0].packed, linear_codes_weight_bytes(p->outputs, inputs, p->weight_bits),
                                           to_codes ? kWeightToCodes : kWeightToFloats,
                                           [=](uint8_t* to) { linear_codes_weight(weights, outputs, inputs, to_codes, to); }));
}

}  // namespace fewbit::cuda
