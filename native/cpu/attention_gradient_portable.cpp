#include <cstring>
#include <initializer_list>

#include "cpu/attention_floats_portable.h"
#include "cpu/implementations.h"

namespace fewbit {
namespace {

// y[0..count) += a * x[0..count)
void add(float a, const float* x, float* y, int count) {
  for (int i = 0; i < count; ++i) y[i] += a * x[i];
}

// scores[s] = sum over channels of x[c] b[c][s]
void product(const float* x, const float* b, int channels, int tokens, float* scores) {
  std::memset(scores, 0, tokens * sizeof(float));
  for (int c = 0; c < channels; ++c) add(x[c], b + ptrdiff_t(c) * tokens, scores, tokens);
}

}  // namespace

// Query after query; dk and dv grow in y.
void attention_gradient_portable(const AttentionGradient& op, int task, void* scratch) {
  const AttentionPlace place = attention_place(op, task);
  const int image = place.image, head = place.head, tokens = op.tokens, width = op.head_width;
  const float* q = op.q + image * op.q_image_stride + head * width;
  const float* k = op.k + image * op.k_image_stride + head * width;
  const float* v = op.v + image * op.v_image_stride + head * width;
  const float* g = op.gradient + image * op.gradient_image_stride + head * width;
  float* dq = op.y + image * op.y_image_stride + head * width;
  float* dk = dq + ptrdiff_t(op.heads) * width;
  float* dv = dk + ptrdiff_t(op.heads) * width;

  // K and V transposed, so that inner loops run over keys without a sum that the compiler may not reorder.
  float* k_t = static_cast<float*>(scratch);  // [width][tokens]
  float* v_t = k_t + ptrdiff_t(width) * tokens;
  float* p = v_t + ptrdiff_t(width) * tokens;
  float* ds = p + tokens;
  for (int s = 0; s < tokens; ++s) {
    const ptrdiff_t row = attention_row(place.rows, s);
    for (ptrdiff_t c = 0; c < width; ++c) {
      k_t[c * tokens + s] = k[row * op.k_stride + c];
      v_t[c * tokens + s] = v[row * op.v_stride + c];
    }
    for (float* y : {dq, dk, dv}) std::memset(y + row * op.y_stride, 0, width * sizeof(float));
  }

  for (int t = 0; t < tokens; ++t) {
    const ptrdiff_t query_row = attention_row(place.rows, t);
    const float *query = q + query_row * op.q_stride, *gradient = g + query_row * op.gradient_stride;
    product(query, k_t, width, tokens, p);
    softmax(place, t, tokens, op.scale[head], p);
    product(gradient, v_t, width, tokens, ds);
    if (op.probabilities) {
      float* image_rows = op.probabilities + image * op.probabilities_image_stride;
      const ptrdiff_t row = (ptrdiff_t(place.window) * op.heads + head) * tokens + t;
      std::memcpy(image_rows + row * op.probabilities_stride, ds, tokens * sizeof(float));
    }
    float lanes[16] = {};
    for (int s = 0; s < tokens; ++s) lanes[s % 16] += p[s] * ds[s];
    const float mean = tree16(lanes);
    for (int s = 0; s < tokens; ++s) ds[s] = op.scale[head] * (p[s] * (ds[s] - mean));
    for (int s = 0; s < tokens; ++s) {
      const ptrdiff_t row = attention_row(place.rows, s);
      add(ds[s], k + row * op.k_stride, dq + query_row * op.y_stride, width);
      add(ds[s], query, dk + row * op.y_stride, width);
      add(p[s], gradient, dv + row * op.y_stride, width);
    }
  }
}

}  // namespace fewbit
