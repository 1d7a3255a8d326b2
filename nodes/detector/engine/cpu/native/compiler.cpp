// After the analysis: collect the borders that convolutions need, emit steps in the network's
// order, share memory.
#include "nodes/detector/engine/cpu/native/compiler.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "nodes/detector/engine/cpu/kernels/convolution.hpp"
#include "nodes/detector/engine/cpu/kernels/interpolation.hpp"
#include "nodes/detector/engine/cpu/kernels/movement.hpp"
#include "nodes/detector/engine/cpu/native/analysis.hpp"
#include "nodes/detector/engine/cpu/native/fallback.hpp"
#include "nodes/detector/engine/cpu/native/storage.hpp"
#include "nodes/detector/engine/cpu/native/tensor_steps.hpp"
#include "nodes/detector/engine/shapes/geometry.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine::cpu::native {

namespace {

class Compiler {
 public:
  Compiler(const NetworkDefinition& network, const KnownValues& known,
           const CompileOptions& options)
      : network_(network),
        known_(known),
        options_(options),
        storage_(network, {.fp16 = half(), .bf16 = options.features.amx_bf16}),
        analysis_(network, known, storage_),
        tensors_(network, known, storage_, options.features, program_) {}

  Result<Program> run() {
    FOVEA_TRY(find_borders());
    for (std::size_t i = 0; i < network_.layers.size(); ++i) {
      auto emitted = emit(i);
      if (!emitted) return fail(emitted.error().with_context(network_.layers[i].name));
    }
    for (std::size_t i = 0; i < network_.outputs.size(); ++i) FOVEA_TRY(emit_output(i));
    program_.declined.insert(program_.declined.end(), analysis_.declined().begin(),
                             analysis_.declined().end());
    decline_unknown_tactics();
    if (!refused_.empty()) {
      return fail(ErrorCode::kUnsupported, fmt::format("{}", fmt::join(refused_, "; ")));
    }
    write_to_outputs();
    place_buffers(program_, storage_.take_buffers());
    return std::move(program_);
  }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
  const Dims& dims(ValueId id) const { return network_.value(id).dims; }
  bool quantised() const { return !network_.quantization.empty(); }
  LayerQuantization quantization(std::size_t layer) const {
    return quantised() ? network_.quantization.layers[layer] : LayerQuantization{};
  }
  bool half() const { return options_.features.avx512_fp16 || options_.features.emulated_fp16; }
  // A network of bf16 convolutions takes products of bf16 numbers everywhere.
  bool bf16() const {
    const auto& layers = network_.quantization.layers;
    return options_.features.amx_bf16 &&
           std::any_of(layers.begin(), layers.end(), [](const LayerQuantization& layer) {
             return layer.precision == Precision::kBf16;
           });
  }
  DataType compute_type(std::size_t layer) const {
    const Precision precision = quantization(layer).precision;
    if (precision == Precision::kInt8) return DataType::kUint8;
    if (precision == Precision::kFp16 && half()) return DataType::kFloat16;
    const bool tiles = precision == Precision::kBf16 && options_.features.amx_bf16 &&
                       network_.layers[layer].int_attribute("group", 1) == 1;
    return tiles ? DataType::kBfloat16 : DataType::kFloat32;
  }

  Result<Window> window_of(const Layer& layer, std::array<std::int64_t, 2> kernel) const {
    return resolve_window(layer, dims(layer.inputs[0])[2], dims(layer.inputs[0])[3], kernel);
  }
  Result<Window> convolution_window(const Layer& layer) const {
    const Dims& weights = analysis_.constant(layer, 1)->dims;
    return window_of(layer, {weights[2], weights[3]});
  }

  Result<> find_borders() {
    for (std::size_t i = 0; i < network_.layers.size(); ++i) {
      const Layer& layer = network_.layers[i];
      if (analysis_.path(i) != Path::kConvolution || storage_.is_image(layer.inputs[0])) continue;
      FOVEA_ASSIGN(const Window window, convolution_window(layer));
      const auto after = [](const WindowAxis& axis) {
        const std::int64_t last =
            (axis.output - 1) * axis.stride - axis.pad_begin + (axis.kernel - 1) * axis.dilation;
        return std::max(last - (axis.input - 1), std::int64_t{0});
      };
      storage_.need_border(
          layer.inputs[0], compute_type(i),
          {window[0].pad_begin, window[1].pad_begin, after(window[0]), after(window[1])});
    }
    return {};
  }

  // Where `id` lies as `as`; converts it the first time that another type than its own is wanted.
  Result<Home> source(ValueId id, DataType as) {
    const Home home = storage_.home(id);
    if (as == storage_.type(id)) return home;
    const Home copy = storage_.home(id, as);
    if (converted_.insert({id, as}).second) {
      FOVEA_TRY(emit_pointwise(network_.value(id).name, id, home, copy));
    }
    return copy;
  }

  void add_step(std::string layer, std::unique_ptr<const kernels::Kernel> kernel,
                std::vector<Location> sources, std::vector<Location> destinations) {
    Step step;
    step.layer = std::move(layer);
    step.implementation = kernel->implementation();
    step.kernel = std::move(kernel);
    step.sources = std::move(sources);
    step.destinations = std::move(destinations);
    program_.steps.push_back(std::move(step));
  }

  // Copies or converts `shape`'s picture.
  Result<> emit_pointwise(const std::string& name, ValueId shape, const Home& from, const Home& to,
                          int repeat = 1) {
    const Dims& extents = dims(shape);
    FOVEA_ASSIGN(auto kernel, kernels::create_pointwise({.height = extents[2],
                                                         .width = extents[3],
                                                         .channels = extents[1],
                                                         .from = from.surface,
                                                         .to = to.surface,
                                                         .repeat = repeat},
                                                        options_.features));
    add_step(name, std::move(kernel), {from.location}, {to.location});
    return {};
  }

  Result<> emit(std::size_t i) {
    const Layer& layer = network_.layers[i];
    if (analysis_.path(i) != Path::kKnown && analysis_.path(i) != Path::kTensor) {
      FOVEA_TRY(settle_inputs(layer));
    }
    switch (analysis_.path(i)) {
      case Path::kKnown:
      case Path::kSplit:
      case Path::kFused:
        return {};
      case Path::kAttention:
        return emit_attention(analysis_.attention(i));
      case Path::kImage:
        if (!analysis_.used(layer.outputs[0])) return {};
        return emit_pointwise(layer.name, layer.outputs[0], storage_.image(),
                              storage_.home(layer.outputs[0]));
      case Path::kConvolution:
        return emit_convolution(layer, i);
      case Path::kPool:
        return emit_pool(layer);
      case Path::kAverage:
        return emit_average_pool(layer);
      case Path::kConcat:
        return emit_concat(layer, i);
      case Path::kUpsample:
        if (!analysis_.used(layer.outputs[0]) || analysis_.origin(layer.outputs[0])) return {};
        return emit_pointwise(layer.name, layer.inputs[0], storage_.home(layer.inputs[0]),
                              storage_.home(layer.outputs[0]), 2);
      case Path::kInterpolate:
        if (!analysis_.used(layer.outputs[0])) return {};
        return emit_interpolation(layer);
      case Path::kPointwise:
        return emit_layer_pointwise(layer);
      case Path::kTensor: {
        const auto used = [&](ValueId id) { return analysis_.used(id); };
        if (analysis_.is_written(i) ||
            std::none_of(layer.outputs.begin(), layer.outputs.end(), used)) {
          return {};
        }
        FOVEA_ASSIGN(const bool done, tensors_.emit(layer));
        if (done) return {};
        FOVEA_TRY(settle_inputs(layer));
        return emit_fallback(layer);
      }
      case Path::kFallback:
        return emit_fallback(layer);
    }
    return {};
  }

  Result<> settle_inputs(const Layer& layer) {
    for (const ValueId id : layer.inputs) {
      if (id != kNoValue) FOVEA_TRY(tensors_.settle(id));
    }
    if (layer.residual != kNoValue) FOVEA_TRY(tensors_.settle(layer.residual));
    return {};
  }

  Result<> emit_convolution(const Layer& layer, std::size_t i) {
    const ValueId input = layer.inputs[0];
    const ValueId output = layer.outputs[0];
    const Constant& weights = *analysis_.constant(layer, 1);
    const Constant* bias = analysis_.constant(layer, 2);
    FOVEA_ASSIGN(const Window window, convolution_window(layer));
    kernels::ConvolutionSpec spec;
    spec.compute = compute_type(i);
    spec.in_channels = dims(input)[1];
    spec.in_height = window[0].input;
    spec.in_width = window[1].input;
    spec.out_channels = dims(output)[1];
    spec.out_height = window[0].output;
    spec.out_width = window[1].output;
    spec.kernel_height = window[0].kernel;
    spec.kernel_width = window[1].kernel;
    spec.stride_height = window[0].stride;
    spec.stride_width = window[1].stride;
    spec.dilation_height = window[0].dilation;
    spec.dilation_width = window[1].dilation;
    spec.pad_top = window[0].pad_begin;
    spec.pad_left = window[1].pad_begin;
    spec.groups = layer.int_attribute("group", 1);
    spec.activation = layer.activation;
    spec.activation_alpha = layer.activation_alpha;
    Home from = storage_.is_image(input) ? storage_.image() : Home{};
    if (!storage_.is_image(input)) {
      FOVEA_ASSIGN(from, source(input, spec.compute));
      spec.physically_padded = true;
    }
    spec.source = from.surface;

    const auto count = static_cast<std::size_t>(weights.size());
    Constant codes;
    if (weights.packed() == (spec.compute == DataType::kUint8)) spec.forms = &weights.forms;
    if (spec.compute == DataType::kUint8) {
      if (!weights.packed()) codes = pack_weights(weights);
      const Constant& packed = weights.packed() ? weights : codes;
      spec.s8_weights = {packed.data<std::int8_t>(), count};
      spec.weight_scales = packed.scales;
      const QuantizationGrid grid = quantization(i).pre_activation;
      if (grid) {
        spec.pre_activation = kernels::Grid{grid.scale, grid.zero_point};
        spec.end_values = {quantization(i).low_value, quantization(i).high_value};
      }
    } else {
      spec.weights = {weights.data<float>(), count};
    }
    if (bias != nullptr) spec.bias = {bias->data<float>(), static_cast<std::size_t>(bias->size())};

    std::vector<Location> sources = {from.location};
    std::vector<Location> destinations;
    const auto add = [&](const Home& to, std::int64_t first, std::int64_t channels, int repeat) {
      kernels::Destination destination;
      destination.surface = to.surface;
      destination.first_channel = first;
      destination.channels = channels;
      destination.repeat = repeat;
      if (layer.residual != kNoValue) {
        const Home residual = Storage::part(storage_.home(layer.residual), first);
        destination.residual = residual.surface;
        sources.push_back(residual.location);
      }
      spec.destinations.push_back(destination);
      destinations.push_back(to.location);
    };
    if (analysis_.used(output)) add(storage_.home(output), 0, spec.out_channels, 1);
    for (const Extra& extra : analysis_.extras(i)) {
      const Home to = extra.output >= 0 ? output_home(extra.output)
                                        : Storage::part(storage_.home(extra.whole), extra.channel);
      add(to, extra.origin.first, extra.channels, extra.origin.repeat);
    }
    if (destinations.empty()) return {};  // nobody reads it
    if (options_.on_convolution) {
      FOVEA_TRY(options_.on_convolution({program_.steps.size(), layer.name, spec}));
    }
    FOVEA_ASSIGN(auto kernel, create_convolution(layer, spec));
    if (kernel->implementation() == "scalar") {
      const auto reasons = kernels::enumerate_tactics(spec, options_.features).declined;
      slow(layer, fmt::format("{}", fmt::join(reasons, ", ")),
           !options_.alone && (spec.groups == 1 || !quantised()));
    }
    add_step(layer.name, std::move(kernel), std::move(sources), std::move(destinations));
    return {};
  }

  // By the tactic chosen for the layer, if it has that one here.
  Result<std::unique_ptr<const kernels::Kernel>> create_convolution(
      const Layer& layer, const kernels::ConvolutionSpec& spec) {
    const auto choice = options_.tactics.find(layer.name);
    if (choice == options_.tactics.end()) {
      return kernels::create_convolution(spec, {}, options_.features);
    }
    auto chosen = kernels::create_convolution(spec, choice->second, options_.features);
    if (chosen) return chosen;
    auto first_guess = kernels::create_convolution(spec, {}, options_.features);
    if (first_guess) {
      program_.declined.push_back(fmt::format("{}: {}; {} runs", layer.name, chosen.error().message,
                                              (*first_guess)->implementation()));
    }
    return first_guess;
  }

  void decline_unknown_tactics() {
    for (const auto& [name, tactic] : options_.tactics) {
      const auto named = [&name = name](const Layer& layer) { return layer.name == name; };
      if (std::none_of(network_.layers.begin(), network_.layers.end(), named)) {
        program_.declined.push_back(fmt::format("{}: no such layer, for tactic {}", name, tactic));
      }
    }
  }

  kernels::MaxPoolSpec pool_spec(const Layer& layer, const Window& window, const Home& from,
                                 const Home& to) const {
    return {.channels = dims(layer.inputs[0])[1],
            .in_height = window[0].input,
            .in_width = window[1].input,
            .out_height = window[0].output,
            .out_width = window[1].output,
            .kernel_height = window[0].kernel,
            .kernel_width = window[1].kernel,
            .stride_height = window[0].stride,
            .stride_width = window[1].stride,
            .pad_top = window[0].pad_begin,
            .pad_left = window[1].pad_begin,
            .from = from.surface,
            .to = to.surface};
  }

  Result<> emit_interpolation(const Layer& layer) {
    const Constant* scales = analysis_.constant(layer, 2);
    const Constant* sizes = analysis_.constant(layer, 3);
    const auto count = [](const Constant* values) {
      return values == nullptr ? 0 : static_cast<std::size_t>(values->size());
    };
    const Dims& in = dims(layer.inputs[0]);
    FOVEA_ASSIGN(
        const ResizeGeometry geometry,
        resolve_resize(layer, in,
                       {count(scales) == 0 ? nullptr : scales->data<float>(), count(scales)},
                       {count(sizes) == 0 ? nullptr : sizes->data<std::int64_t>(), count(sizes)}));
    const Home from = storage_.home(layer.inputs[0]);
    const Home to = storage_.home(layer.outputs[0]);
    kernels::InterpolationSpec spec{.height = in[2],
                                    .width = in[3],
                                    .channels = in[1],
                                    .rows = {},
                                    .columns = {},
                                    .from = from.surface,
                                    .to = to.surface};
    for (const ResizeTap& tap : resize_taps(geometry, in, 2)) {
      spec.rows.push_back({tap.low, tap.high, tap.fraction});
    }
    for (const ResizeTap& tap : resize_taps(geometry, in, 3)) {
      spec.columns.push_back({tap.low, tap.high, tap.fraction});
    }
    FOVEA_ASSIGN(auto kernel, kernels::create_interpolation(spec, options_.features));
    add_step(layer.name, std::move(kernel), {from.location}, {to.location});
    return {};
  }

  Result<> emit_pool(const Layer& layer) {
    const auto kernel_shape = layer.ints_attribute("kernel_shape", {1, 1});
    FOVEA_ASSIGN(const Window window, window_of(layer, {kernel_shape[0], kernel_shape[1]}));
    const Home from = storage_.home(layer.inputs[0]);
    const Home to = storage_.home(layer.outputs[0]);
    FOVEA_ASSIGN(auto kernel,
                 kernels::create_max_pool(pool_spec(layer, window, from, to), options_.features));
    add_step(layer.name, std::move(kernel), {from.location}, {to.location});
    return {};
  }

  Result<> emit_average_pool(const Layer& layer) {
    const Dims& input = dims(layer.inputs[0]);
    const auto kernel_shape = layer.ints_attribute("kernel_shape", {input[2], input[3]});
    FOVEA_ASSIGN(const Window window, window_of(layer, {kernel_shape[0], kernel_shape[1]}));
    const Home from = storage_.home(layer.inputs[0]);
    const Home to = storage_.home(layer.outputs[0]);
    kernels::AveragePoolSpec spec{.pool = pool_spec(layer, window, from, to)};
    spec.count_padding = layer.int_attribute("count_include_pad", 0) != 0;
    spec.pad_bottom = window[0].pad_end;
    spec.pad_right = window[1].pad_end;
    FOVEA_ASSIGN(auto kernel, kernels::create_average_pool(spec, options_.features));
    add_step(layer.name, std::move(kernel), {from.location}, {to.location});
    return {};
  }

  Result<> emit_concat(const Layer& layer, std::size_t i) {
    if (!analysis_.used(layer.outputs[0])) return {};
    std::int64_t channel = 0;
    for (std::size_t k = 0; k < layer.inputs.size(); ++k) {
      const ValueId part = layer.inputs[k];
      if (!analysis_.in_place(i)[k] && !analysis_.origin(part)) {
        FOVEA_TRY(emit_pointwise(layer.name, part, storage_.home(part),
                                 Storage::part(storage_.home(layer.outputs[0]), channel)));
      }
      channel += dims(part)[1];
    }
    return {};
  }

  Result<> emit_layer_pointwise(const Layer& layer) {
    const Home from = storage_.home(layer.inputs[0]);
    const Home to = storage_.home(layer.outputs[0]);
    const Dims& extents = dims(layer.outputs[0]);
    kernels::PointwiseSpec spec{.height = extents[2],
                                .width = extents[3],
                                .channels = extents[1],
                                .from = from.surface,
                                .to = to.surface};
    std::vector<Location> sources = {from.location};
    if (const auto activation = activation_of(layer.op)) {
      spec.activation = *activation;
      spec.activation_alpha = layer.float_attribute("alpha", 0.01F);
    } else {
      const Home addend = storage_.home(layer.inputs[1]);
      spec.addend = addend.surface;
      sources.push_back(addend.location);
    }
    FOVEA_ASSIGN(auto kernel, kernels::create_pointwise(spec, options_.features));
    add_step(layer.name, std::move(kernel), std::move(sources), {to.location});
    return {};
  }

  Result<> emit_attention(const Attention& attention) {
    for (const ValueId id : {attention.q, attention.k, attention.v}) {
      FOVEA_TRY(tensors_.settle(id));
    }
    const auto picture = [&](ValueId id) -> kernels::AttentionPicture {
      return {storage_.home(id).surface, dims(id)[2], dims(id)[3], dims(id)[1]};
    };
    FOVEA_ASSIGN(auto kernel, kernels::create_attention({.positions = attention.positions,
                                                         .key_dim = attention.key_dim,
                                                         .value_dim = attention.value_dim,
                                                         .scale = attention.scale,
                                                         .bf16 = bf16(),
                                                         .q = picture(attention.q),
                                                         .k = picture(attention.k),
                                                         .v = picture(attention.v),
                                                         .to = picture(attention.to),
                                                         .pairs = attention.pairs},
                                                        options_.features));
    const std::string implementation = fmt::format("{} attention", kernel->implementation());
    add_step(network_.layers[attention.computing.front()].name, std::move(kernel),
             {storage_.home(attention.q).location, storage_.home(attention.k).location,
              storage_.home(attention.v).location},
             {storage_.home(attention.to).location});
    Step& step = program_.steps.back();
    step.implementation = implementation;
    for (std::size_t i = 1; i < attention.computing.size(); ++i) {
      step.fused.push_back(network_.layers[attention.computing[i]].name);
    }
    return {};
  }

  Result<> emit_fallback(const Layer& layer) {
    slow(layer, fmt::format("no kernel for {} here", to_string(layer.op)), false);
    Step step;
    step.layer = layer.name;
    step.implementation = "reference";
    FOVEA_ASSIGN(step.operation, make_fallback(network_, layer, known_, storage_));
    const auto read = [&](ValueId id) {
      if (id != kNoValue && known_[index(id)] == nullptr) {
        step.sources.push_back(storage_.home(id).location);
      }
    };
    for (const ValueId id : layer.inputs) read(id);
    read(layer.residual);
    for (const ValueId id : layer.outputs) {
      step.destinations.push_back(storage_.home(id).location);
    }
    program_.steps.push_back(std::move(step));
    return {};
  }

  void slow(const Layer& layer, const std::string& reason, bool refuse) {
    std::string text = layer.name + ": " + reason;
    if (refuse) refused_.push_back(text);
    program_.declined.push_back(std::move(text));
  }

  Home output_home(std::int32_t output) const {
    const Dims& extents = dims(network_.outputs[static_cast<std::size_t>(output)]);
    return {{Location::Where::kOutput, output, 0},
            {DataType::kFloat32, extents[1], extents[1] * extents[3], {}}};
  }

  Result<> emit_output(std::size_t i) {
    const ValueId id = network_.outputs[i];
    const Value& value = network_.value(id);
    const auto to = static_cast<std::int32_t>(i);
    if (known_[index(id)] != nullptr) {
      return fail(ErrorCode::kUnsupported, value.name + " does not depend on the picture");
    }
    FOVEA_TRY(tensors_.settle(id));
    if (analysis_.is_map(id)) {
      if (analysis_.origin(id)) return {};
      return emit_pointwise(value.name, id, storage_.home(id), output_home(to));
    }
    const Home from = storage_.home(id);
    add_step(value.name, make_planar_copy(value, storage_.is_picture(id), from.surface),
             {from.location}, {{Location::Where::kOutput, to, 0}});
    const bool as_it_is = !storage_.is_picture(id) && value.dtype == DataType::kFloat32;
    if (as_it_is) output_copies_.push_back(program_.steps.size() - 1);
    return {};
  }

  // The caller's memory stands for the buffers that would only be copied there.
  void write_to_outputs() {
    for (auto at = output_copies_.rbegin(); at != output_copies_.rend(); ++at) {
      const Location buffer = program_.steps[*at].sources[0];
      const Location output = program_.steps[*at].destinations[0];
      if (buffer.where != Location::Where::kArena || !only_kernels_use(buffer)) continue;
      program_.steps.erase(program_.steps.begin() + static_cast<std::ptrdiff_t>(*at));
      for (Step& step : program_.steps) {
        for (auto* locations : {&step.sources, &step.destinations}) {
          for (Location& location : *locations) {
            if (same_buffer(location, buffer))
              location = {output.where, output.index, location.offset};
          }
        }
      }
    }
  }
  static bool same_buffer(const Location& a, const Location& b) {
    return a.where == b.where && a.index == b.index;
  }
  // Operations that are no kernels must know their addresses before there is a caller.
  bool only_kernels_use(const Location& buffer) const {
    return std::all_of(program_.steps.begin(), program_.steps.end(), [&](const Step& step) {
      const auto uses = [&](const std::vector<Location>& locations) {
        return std::any_of(locations.begin(), locations.end(),
                           [&](const Location& at) { return same_buffer(at, buffer); });
      };
      return step.kernel != nullptr || !(uses(step.sources) || uses(step.destinations));
    });
  }

  const NetworkDefinition& network_;
  const KnownValues& known_;
  const CompileOptions& options_;
  Storage storage_;
  Analysis analysis_;
  TensorSteps tensors_;
  std::set<std::pair<ValueId, DataType>> converted_;
  std::vector<std::string> refused_;
  std::vector<std::size_t> output_copies_;  // steps that copy a buffer to an output as it is
  Program program_;
};

}  // namespace

Result<Program> compile(NetworkDefinition network, const CompileOptions& options) {
  FOVEA_ASSIGN(const KnownValues known, infer_known_values(network, 1));
  return Compiler(network, known, options).run();
}

}  // namespace fovea::engine::cpu::native
