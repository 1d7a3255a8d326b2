// oneDNN 2.6 primitives as operations. Its C++ wrappers throw; nothing of that leaves this file.
// execute() goes through the C interface, whose argument list can be prepared once.
#include "nodes/detector/engine/cpu/onednn/primitives.hpp"

#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <dnnl.hpp>
#include <fmt/core.h>
#include <omp.h>

#include "nodes/base/instruction_set.hpp"
#include "nodes/detector/engine/cpu/kernels/isa.hpp"

namespace fovea::engine::cpu::onednn {

namespace {

using dnnl::memory;
using DnnlType = memory::data_type;
using Tag = memory::format_tag;
using Arguments = std::vector<std::pair<int, memory>>;

const dnnl::engine& cpu_engine() {
  static const dnnl::engine kEngine(dnnl::engine::kind::cpu, 0);
  return kEngine;
}

std::string_view isa_name() {
  const auto isa = dnnl::get_effective_cpu_isa();
  const auto has = [&](dnnl::cpu_isa wanted) {
    return (static_cast<unsigned>(isa) & static_cast<unsigned>(wanted)) ==
           static_cast<unsigned>(wanted);
  };
  if (has(dnnl::cpu_isa::avx512_core)) return "avx512_core";
  if (has(dnnl::cpu_isa::avx2)) return "avx2";
  if (has(dnnl::cpu_isa::sse41)) return "sse41";
  return "generic";
}

// The lowest that oneDNN has kernels for is SSE4.1.
Result<> limit_isa(InstructionSet highest) {
  const auto isa = highest >= InstructionSet::kAvx512 ? dnnl::cpu_isa::avx512_core
                   : highest >= InstructionSet::kAvx2 ? dnnl::cpu_isa::avx2
                                                      : dnnl::cpu_isa::sse41;
  const auto set = dnnl::set_max_cpu_isa(isa);
  if (set == dnnl::status::unimplemented) return {};  // elsewhere than on x86 it has no choice
  if (set != dnnl::status::success) {
    return fail(ErrorCode::kInternal,
                "FOVEA_ISA: oneDNN was already in use with another instruction set");
  }
  return {};
}

Tag blocked_tag(std::int64_t block) { return block == 16 ? Tag::nChw16c : Tag::nChw8c; }

memory at(const memory::desc& desc, void* address) { return memory(desc, cpu_engine(), address); }

// One primitive bound to one context's memory: everything that a call needs, prepared.
class BoundPrimitive final : public Operation {
 public:
  BoundPrimitive(dnnl::primitive primitive, Arguments arguments, int threads)
      : primitive_(std::move(primitive)),
        arguments_(std::move(arguments)),
        stream_(cpu_engine()),
        threads_(threads) {
    for (const auto& [index, tensor] : arguments_) raw_.push_back({index, tensor.get()});
  }
  Result<> run(const kernels::Arguments& /*arguments*/) override {
    omp_set_num_threads(threads_);  // of this thread; another one may run another engine
    const bool good =
        dnnl_primitive_execute(primitive_.get(), stream_.get(), static_cast<int>(raw_.size()),
                               raw_.data()) == dnnl_success &&
        dnnl_stream_wait(stream_.get()) == dnnl_success;
    if (good) return {};
    return fail(ErrorCode::kInternal, "oneDNN failed");
  }

 private:
  dnnl::primitive primitive_;
  Arguments arguments_;
  dnnl::stream stream_;
  std::vector<dnnl_exec_arg_t> raw_;
  int threads_;
};

// A primitive, its packed constants, and what its tensors look like.
struct PrimitiveFactory final : public OperationFactory {
  dnnl::primitive primitive;
  Arguments constants;
  memory::desc source;
  memory::desc target;
  memory::desc scratchpad;
  int residual_argument = 0;  // 0 = has none

  std::size_t scratch_bytes() const override { return scratchpad.get_size(); }

  // All of its tensors lie in the arena, so their addresses are known now.
  Result<std::unique_ptr<Operation>> create(int threads,
                                            const kernels::Arguments& fixed) const override {
    const auto read = [&](std::size_t i) { return const_cast<void*>(fixed.sources[i]); };
    try {
      Arguments arguments = constants;
      arguments.emplace_back(DNNL_ARG_SRC, at(source, read(0)));
      arguments.emplace_back(DNNL_ARG_DST, at(target, fixed.destinations[0]));
      arguments.emplace_back(DNNL_ARG_SCRATCHPAD, at(scratchpad, fixed.scratch));
      if (residual_argument != 0) arguments.emplace_back(residual_argument, at(target, read(1)));
      return std::make_unique<BoundPrimitive>(primitive, std::move(arguments), threads);
    } catch (const dnnl::error& error) {
      return fail(ErrorCode::kExhausted, error.what());
    }
  }
};

bool is_reference(std::string_view implementation) {
  return implementation.find("ref") != std::string_view::npos;
}

tl::unexpected<Error> declined(std::string reason) {
  return fail(ErrorCode::kUnsupported, "oneDNN: " + std::move(reason));
}

// [out, in / groups, h, w] spread over the physical channels, empty ones zero.
std::vector<float> spread_weights(const ConvolutionSpec& spec) {
  const Dims& dims = spec.weights->dims;
  const auto taps = static_cast<std::size_t>(dims[2] * dims[3]);
  const auto logical_in = static_cast<std::size_t>(dims[1]);
  const bool depthwise = spec.groups > 1;
  const std::size_t physical_in = depthwise ? 1 : spec.source.logical.size();
  std::vector<float> spread(spec.target.logical.size() * physical_in * taps, 0.0F);
  for (std::size_t out = 0; out < spec.target.logical.size(); ++out) {
    const std::int32_t from_out = spec.target.logical[out];
    if (from_out < 0) continue;
    for (std::size_t in = 0; in < physical_in; ++in) {
      const std::int32_t from_in = depthwise ? 0 : spec.source.logical[in];
      if (from_in < 0) continue;
      const float* from =
          spec.weights->data<float>() +
          (static_cast<std::size_t>(from_out) * logical_in + static_cast<std::size_t>(from_in)) *
              taps;
      std::memcpy(spread.data() + (out * physical_in + in) * taps, from, taps * sizeof(float));
    }
  }
  return spread;
}

std::vector<float> spread_bias(const ConvolutionSpec& spec) {
  std::vector<float> spread(spec.target.logical.size(), 0.0F);
  if (spec.bias == nullptr) return spread;
  for (std::size_t out = 0; out < spread.size(); ++out) {
    const std::int32_t from = spec.target.logical[out];
    if (from >= 0) spread[out] = spec.bias->data<float>()[from];
  }
  return spread;
}

// A copy that the kernel owns, in the layout that it wants.
memory packed(std::vector<float>& values, const memory::desc& given, const memory::desc& wanted) {
  memory result(wanted, cpu_engine());
  memory source = at(given, values.data());
  dnnl::stream stream(cpu_engine());
  dnnl::reorder(source, result).execute(stream, source, result);
  stream.wait();
  return result;
}

void append_activation(dnnl::post_ops& post, Activation activation, float alpha) {
  using dnnl::algorithm;
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kSilu:
      return post.append_eltwise(1.0F, algorithm::eltwise_swish, 1.0F, 0.0F);
    case Activation::kRelu:
      return post.append_eltwise(1.0F, algorithm::eltwise_relu, 0.0F, 0.0F);
    case Activation::kLeakyRelu:
      return post.append_eltwise(1.0F, algorithm::eltwise_relu, alpha, 0.0F);
    case Activation::kSigmoid:
      return post.append_eltwise(1.0F, algorithm::eltwise_logistic, 0.0F, 0.0F);
    case Activation::kHardSwish:
      return post.append_eltwise(1.0F, algorithm::eltwise_hardswish, 0.0F, 0.0F);
  }
}

Result<Primitive> convolution(const ConvolutionSpec& spec, std::int64_t block) {
  const auto& [y, x] = spec.window;
  const std::int64_t in = spec.source.physical();
  const std::int64_t out = spec.target.physical();
  const Tag tag = blocked_tag(block);
  const memory::desc source({1, in, y.input, x.input}, DnnlType::f32,
                            spec.planar_source ? Tag::nchw : tag);
  const memory::desc target({1, out, y.output, x.output}, DnnlType::f32, tag);
  const memory::desc bias({out}, DnnlType::f32, Tag::x);
  memory::dims weight_dims = {out, in, y.kernel, x.kernel};
  if (spec.groups > 1) weight_dims = {out, 1, 1, y.kernel, x.kernel};
  const memory::desc plain_weights(weight_dims, DnnlType::f32,
                                   spec.groups > 1 ? Tag::goihw : Tag::oihw);

  dnnl::post_ops post;
  append_activation(post, spec.activation, spec.activation_alpha);
  const int residual_index = post.len();
  if (spec.residual) post.append_binary(dnnl::algorithm::binary_add, target);
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(post);
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);

  using Forward = dnnl::convolution_forward;
  const Forward::primitive_desc chosen(
      Forward::desc(dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, source,
                    memory::desc(weight_dims, DnnlType::f32, Tag::any), bias, target,
                    {y.stride, x.stride}, {y.dilation - 1, x.dilation - 1},
                    {y.pad_begin, x.pad_begin}, {y.pad_end, x.pad_end}),
      attributes, cpu_engine());
  const std::string implementation = chosen.impl_info_str();
  if (is_reference(implementation)) return declined(fmt::format("only {} does it", implementation));

  std::vector<float> weight_values = spread_weights(spec);
  std::vector<float> bias_values = spread_bias(spec);
  auto factory = std::make_shared<PrimitiveFactory>();
  factory->primitive = Forward(chosen);
  factory->constants = {
      {DNNL_ARG_WEIGHTS, packed(weight_values, plain_weights, chosen.weights_desc())},
      {DNNL_ARG_BIAS, packed(bias_values, bias, bias)}};
  factory->source = source;
  factory->target = target;
  factory->scratchpad = chosen.scratchpad_desc();
  if (spec.residual) {
    factory->residual_argument =
        DNNL_ARG_ATTR_MULTIPLE_POST_OP(residual_index) | DNNL_ARG_SRC_1;
  }
  return Primitive{"onednn " + implementation, std::move(factory)};
}

Result<Primitive> max_pool(const Window& window, std::int64_t channels, std::int64_t block) {
  const auto& [y, x] = window;
  if (y.dilation != 1 || x.dilation != 1) return declined("dilated pooling is not used");
  const memory::desc source({1, channels, y.input, x.input}, DnnlType::f32, blocked_tag(block));
  const memory::desc target({1, channels, y.output, x.output}, DnnlType::f32, blocked_tag(block));
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  using Forward = dnnl::pooling_forward;
  const Forward::primitive_desc chosen(
      Forward::desc(dnnl::prop_kind::forward_inference, dnnl::algorithm::pooling_max, source,
                    target, {y.stride, x.stride}, {y.kernel, x.kernel}, {y.pad_begin, x.pad_begin},
                    {y.pad_end, x.pad_end}),
      attributes, cpu_engine());
  const std::string implementation = chosen.impl_info_str();
  if (is_reference(implementation)) return declined(fmt::format("only {} does it", implementation));
  auto factory = std::make_shared<PrimitiveFactory>();
  factory->primitive = Forward(chosen);
  factory->source = source;
  factory->target = target;
  factory->scratchpad = chosen.scratchpad_desc();
  return Primitive{"onednn " + implementation, std::move(factory)};
}

}  // namespace

bool is_built() { return true; }

Result<std::int64_t> select_instruction_set() {
  static std::once_flag once;
  static std::optional<Error> error;
  std::call_once(once, [] {
    Result<> done = kernels::check_isa();
    const std::optional<InstructionSet> requested = requested_instruction_set();
    if (done && requested) done = limit_isa(*requested);
    if (!done) error = done.error();
  });
  if (error) return fail(*error);
  return isa_name() == "avx512_core" ? 16 : 8;
}

std::string library_version() {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("oneDNN {}.{}.{} {}", version->major, version->minor, version->patch,
                     isa_name());
}

Result<Primitive> make_convolution(const ConvolutionSpec& spec, std::int64_t block) {
  try {
    return convolution(spec, block);
  } catch (const dnnl::error& error) {
    return declined(error.what());
  }
}

Result<Primitive> make_max_pool(const Window& window, std::int64_t physical_channels,
                             std::int64_t block) {
  try {
    return max_pool(window, physical_channels, block);
  } catch (const dnnl::error& error) {
    return declined(error.what());
  }
}

}  // namespace fovea::engine::cpu::onednn
