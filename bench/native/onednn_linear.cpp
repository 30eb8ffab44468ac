#include "onednn_linear.h"

#if FEWBIT_ONEDNN
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

std::function<void()> onednn_linear(int rows, int inputs, int outputs, bool codes) {
  using dnnl::memory;
  using type = memory::data_type;
  using tag = memory::format_tag;
  const auto engine = std::make_shared<dnnl::engine>(dnnl::engine::kind::cpu, 0);
  const auto stream = std::make_shared<dnnl::stream>(*engine);
  const memory::desc x({rows, inputs}, codes ? type::u8 : type::f32, tag::ab);
  const memory::desc w({inputs, outputs}, codes ? type::s8 : type::f32, tag::any);
  const memory::desc bias({1, outputs}, type::f32, tag::ab);
  const memory::desc y({rows, outputs}, type::f32, tag::ab);
  dnnl::primitive_attr attributes;
  if (codes) attributes.set_output_scales(1 << 1, std::vector<float>(outputs, 1e-4f));
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(x, w, bias, y), attributes, *engine);

  memory plain({{inputs, outputs}, codes ? type::s8 : type::f32, tag::ab}, *engine);
  if (codes) {
    auto* values = static_cast<int8_t*>(plain.get_data_handle());
    for (int64_t i = 0; i < int64_t(inputs) * outputs; ++i) values[i] = static_cast<int8_t>(i * 7 % 251 - 125);
  } else {
    auto* values = static_cast<float*>(plain.get_data_handle());
    for (int64_t i = 0; i < int64_t(inputs) * outputs; ++i) values[i] = 1e-3f * float(i % 777);
  }
  memory packed(description.weights_desc(), *engine);
  dnnl::reorder(plain, packed).execute(*stream, plain, packed);
  stream->wait();
  const auto operands = std::make_shared<std::unordered_map<int, memory>>();
  operands->emplace(DNNL_ARG_SRC, memory(description.src_desc(), *engine));
  operands->emplace(DNNL_ARG_WEIGHTS, packed);
  operands->emplace(DNNL_ARG_BIAS, memory(description.bias_desc(), *engine));
  operands->emplace(DNNL_ARG_DST, memory(description.dst_desc(), *engine));
  const auto primitive = std::make_shared<dnnl::matmul>(description);
  return [engine, stream, operands, primitive] {
    primitive->execute(*stream, *operands);
    stream->wait();
  };
}

#else

std::function<void()> onednn_linear(int, int, int, bool) { return {}; }

#endif
