#include "bench/kernels/onednn_convolution.hpp"

#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include <dnnl.hpp>

namespace fovea::bench {
namespace {

using Type = dnnl::memory::data_type;
using Tag = dnnl::memory::format_tag;

// Contents do not change the time, but denormals would.
void fill(dnnl::memory& memory, Type type) {
  const std::size_t bytes = memory.get_desc().get_size();
  auto* data = static_cast<unsigned char*>(memory.get_data_handle());
  if (type == Type::f32) {
    const float value = 0.01F;
    for (std::size_t i = 0; i + sizeof value <= bytes; i += sizeof value)
      std::memcpy(data + i, &value, sizeof value);
  } else {
    std::memset(data, 3, bytes);
  }
}

}  // namespace

OneDnnConvolution make_onednn_convolution(const kernel_table::Convolution& shape, bool integer) {
  static const dnnl::engine kEngine(dnnl::engine::kind::cpu, 0);
  const Type source_type = integer ? Type::u8 : Type::f32;
  const Type weight_type = integer ? Type::s8 : Type::f32;
  const Type target_type = integer && shape.activation ? Type::u8 : Type::f32;
  const dnnl::memory::desc source({1, shape.in_channels, shape.in_height, shape.in_width},
                                  source_type, Tag::any);
  dnnl::memory::dims weight_dims = {shape.out_channels / shape.groups,
                                    shape.in_channels / shape.groups, shape.kernel, shape.kernel};
  if (shape.groups > 1) weight_dims.insert(weight_dims.begin(), shape.groups);
  const dnnl::memory::desc weights(weight_dims, weight_type, Tag::any);
  const dnnl::memory::desc bias({shape.out_channels}, Type::f32, Tag::a);
  const dnnl::memory::desc target({1, shape.out_channels, shape.out_height(), shape.out_width()},
                                  target_type, Tag::any);
  dnnl::primitive_attr attributes;
  if (integer) {
    constexpr int kPerChannel = 1 << 1;
    attributes.set_output_scales(
        kPerChannel, std::vector<float>(static_cast<std::size_t>(shape.out_channels), 0.01F));
  }
  if (shape.activation) {
    dnnl::post_ops operations;
    operations.append_eltwise(1.0F, dnnl::algorithm::eltwise_swish, 1.0F, 0.0F);
    attributes.set_post_ops(operations);
  }
  const dnnl::convolution_forward::primitive_desc description({dnnl::prop_kind::forward_inference,
                                                               dnnl::algorithm::convolution_direct,
                                                               source,
                                                               weights,
                                                               bias,
                                                               target,
                                                               {shape.stride, shape.stride},
                                                               {shape.pad, shape.pad},
                                                               {shape.pad, shape.pad}},
                                                              attributes, kEngine);
  auto arguments = std::make_shared<std::unordered_map<int, dnnl::memory>>();
  const auto add = [&](int name, const dnnl::memory::desc& desc, Type type) {
    dnnl::memory memory(desc, kEngine);
    fill(memory, type);
    arguments->emplace(name, memory);
  };
  add(DNNL_ARG_SRC, description.src_desc(), source_type);
  add(DNNL_ARG_WEIGHTS, description.weights_desc(), weight_type);
  add(DNNL_ARG_BIAS, bias, Type::f32);
  add(DNNL_ARG_DST, description.dst_desc(), target_type);
  return {[primitive = dnnl::convolution_forward(description), arguments,
           stream = dnnl::stream(kEngine)]() mutable { primitive.execute(stream, *arguments); },
          description.impl_info_str()};
}

}  // namespace fovea::bench
