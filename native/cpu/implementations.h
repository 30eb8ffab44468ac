// The names of all implementations: <op>_<path>. Each runs one task of its op, as the header of the op says; a path that
// is missing here uses the one before it (kernels_*.cpp).
#pragma once

#include "ops/attention.h"
#include "ops/attention_gradient.h"
#include "ops/layernorm.h"
#include "ops/layernorm_gradient.h"
#include "ops/linear.h"
#include "ops/patchify.h"
#include "ops/pointwise.h"
#include "ops/product_sum.h"

namespace fewbit {

void linear_codes_portable(const LinearCodes& op, int task, void* scratch);
void linear_f32_portable(const LinearF32& op, int task, void* scratch);
void attention_codes_portable(const AttentionCodes& op, int task, void* scratch);
void attention_f32_portable(const AttentionF32& op, int task, void* scratch);
void layernorm_portable(const LayerNorm& op, int task, void* scratch);
void layernorm_codes_portable(const LayerNormCodes& op, int task, void* scratch);
void patchify_portable(const Patchify& op, int task, void* scratch);
void pointwise_portable(const Pointwise& op, int task, void* scratch);
void layernorm_gradient_portable(const LayerNormGradient& op, int task, void* scratch);
void attention_gradient_portable(const AttentionGradient& op, int task, void* scratch);
void product_sum_portable(const ProductSum& op, int task, void* scratch);

void linear_codes_avx2(const LinearCodes& op, int task, void* scratch);
void linear_f32_avx2(const LinearF32& op, int task, void* scratch);
void attention_codes_avx2(const AttentionCodes& op, int task, void* scratch);
void attention_f32_avx2(const AttentionF32& op, int task, void* scratch);
void layernorm_avx2(const LayerNorm& op, int task, void* scratch);
void layernorm_codes_avx2(const LayerNormCodes& op, int task, void* scratch);
void patchify_avx2(const Patchify& op, int task, void* scratch);
void pointwise_avx2(const Pointwise& op, int task, void* scratch);
void attention_gradient_avx2(const AttentionGradient& op, int task, void* scratch);
void product_sum_avx2(const ProductSum& op, int task, void* scratch);

void linear_codes_avxvnni(const LinearCodes& op, int task, void* scratch);

void linear_codes_avx512(const LinearCodes& op, int task, void* scratch);
void linear_f32_avx512(const LinearF32& op, int task, void* scratch);
void attention_codes_avx512(const AttentionCodes& op, int task, void* scratch);
void attention_f32_avx512(const AttentionF32& op, int task, void* scratch);
void layernorm_avx512(const LayerNorm& op, int task, void* scratch);
void layernorm_codes_avx512(const LayerNormCodes& op, int task, void* scratch);
void patchify_avx512(const Patchify& op, int task, void* scratch);
void pointwise_avx512(const Pointwise& op, int task, void* scratch);
void attention_gradient_avx512(const AttentionGradient& op, int task, void* scratch);
void product_sum_avx512(const ProductSum& op, int task, void* scratch);

void linear_codes_amx(const LinearCodes& op, int task, void* scratch);
void attention_codes_amx(const AttentionCodes& op, int task, void* scratch);

}  // namespace fewbit
