// Which values share a grid is decided here once, for calibration, checks and
// providers.
#include "nodes/detector/engine/quantization/quantization.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <unordered_map>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/shapes/geometry.hpp"

namespace fovea::engine {

namespace {

// std::nearbyint() for small numbers, without the call that keeps loops from being vectorised:
// millions of weights are rounded whenever an int8 plan is loaded.
float nearest(float x) {
  constexpr float kNoFraction = 0x1.8p23F;  // floats of this size are integers
  return (x + kNoFraction) - kNoFraction;
}

bool is_picture(const Value& value) {
  return value.dtype == DataType::kFloat32 && value.dims.size() == 4 && !value.constant;
}

const Constant* constant_input(const NetworkDefinition& network, const Layer& layer,
                               std::size_t index) {
  if (index >= layer.inputs.size() || layer.inputs[index] == kNoValue) return nullptr;
  return network.value(layer.inputs[index]).constant.get();
}

bool along_channels(const NetworkDefinition& network, const Layer& layer, ValueId shape) {
  const auto axis = resolve_axis(layer.int_attribute("axis", 0), network.value(shape).dims.size());
  return axis && *axis == 1;
}

bool doubles_pixels(const NetworkDefinition& network, const Layer& layer) {
  const Dims& from = network.value(layer.inputs[0]).dims;
  const Dims& to = network.value(layer.outputs[0]).dims;
  std::vector<float> scales;
  if (const Constant* given = constant_input(network, layer, 2);
      given != nullptr && given->dtype == DataType::kFloat32) {
    scales.assign(given->data<float>(), given->data<float>() + given->size());
  }
  std::vector<std::int64_t> sizes;
  if (layer.inputs.size() > 3) sizes = constant_ints(network, layer.inputs[3]).value_or(sizes);
  const auto geometry = resolve_resize(layer, from, scales, sizes);
  if (!geometry || geometry->mode != ResizeGeometry::Mode::kNearest || geometry->output != to ||
      to[1] != from[1] || to[2] != 2 * from[2] || to[3] != 2 * from[3]) {
    return false;
  }
  for (const std::size_t axis : {std::size_t{2}, std::size_t{3}}) {
    for (std::int64_t i = 0; i < to[axis]; ++i) {
      if (geometry->nearest(axis, i, from[axis]) != i / 2) return false;
    }
  }
  return true;
}

// Inputs and outputs that are pixels, not shapes or weights.
std::vector<ValueId> moved_values(const Layer& layer) {
  std::vector<ValueId> values = layer.outputs;
  const std::size_t count = layer.op == OpType::kConcat ? layer.inputs.size() : 1;
  values.insert(values.end(), layer.inputs.begin(),
                layer.inputs.begin() + static_cast<std::ptrdiff_t>(count));
  return values;
}

tl::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorCode::kCorrupt, "quantization: " + std::move(message));
}

}  // namespace

bool valid_grid(const QuantizationGrid& grid, std::int32_t first) {
  if (grid.scale == 0) return grid.zero_point == 0;
  return grid.scale >= kSmallestScale && grid.scale <= kLargestScale && grid.zero_point >= first &&
         grid.zero_point <= first + 255;
}

QuantizationGrid QuantizationGrid::covering(const QuantizationGrid& a, const QuantizationGrid& b) {
  if (a == b) return a;
  const auto end = [](const QuantizationGrid& grid, std::int32_t code) {
    return static_cast<float>(code - grid.zero_point) * grid.scale;
  };
  return over(std::min(end(a, 0), end(b, 0)), std::max(end(a, 255), end(b, 255)), 0);
}

QuantizationGrid QuantizationGrid::over(float low, float high, std::int32_t first) {
  low = std::min(low, 0.0F);
  high = std::max(high, 0.0F);
  QuantizationGrid grid;
  grid.scale = std::clamp((high - low) / 255.0F, kSmallestScale, kLargestScale);
  grid.zero_point = first + static_cast<std::int32_t>(
                                std::clamp(std::nearbyint(-low / grid.scale), 0.0F, 255.0F));
  return grid;
}

namespace {

// The greatest code of weights that somebody rounded already: all are whole multiples of
// largest / code. 127, which any weights get, if they were not.
float greatest_code(std::span<const float> weights, float largest) {
  constexpr float kExact = 1e-3F;  // of a step
  for (float code = 127; code >= 1; --code) {
    const float per_weight = code / largest;
    const bool fits = std::all_of(weights.begin(), weights.end(), [&](float weight) {
      const float multiple = weight * per_weight;
      return std::abs(multiple - std::nearbyint(multiple)) <= kExact;
    });
    if (fits) return code;
  }
  return 127;
}

}  // namespace

QuantizedWeights quantize_weights(std::span<const float> weights, std::int64_t out_channels) {
  QuantizedWeights result;
  result.codes.resize(weights.size());
  const std::size_t per_channel = weights.size() / static_cast<std::size_t>(out_channels);
  for (std::size_t begin = 0; begin < weights.size(); begin += per_channel) {
    // Magnitudes order like their bits, and integers are compared four at a time.
    std::int32_t largest_bits = 0;
    for (const float weight : weights.subspan(begin, per_channel)) {
      largest_bits = std::max(largest_bits, std::bit_cast<std::int32_t>(weight) & 0x7fffffff);
    }
    const auto largest = std::bit_cast<float>(largest_bits);
    float scale = 1;
    if (largest / 127.0F >= kSmallestScale) {
      scale = largest / greatest_code(weights.subspan(begin, per_channel), largest);
    }
    result.scales.push_back(scale);
    for (std::size_t i = begin; i < begin + per_channel; ++i) {
      result.codes[i] =
          static_cast<std::int8_t>(nearest(std::clamp(weights[i] / scale, -127.0F, 127.0F)));
    }
  }
  return result;
}

Constant pack_weights(const Constant& weights) {
  QuantizedWeights quantized = quantize_weights(
      {weights.data<float>(), static_cast<std::size_t>(weights.size())}, weights.dims[0]);
  Constant packed = Constant::make(DataType::kInt8, weights.dims);
  std::memcpy(packed.data<std::int8_t>(), quantized.codes.data(), quantized.codes.size());
  packed.scales = std::move(quantized.scales);
  return packed;
}

Constant unpack_weights(const Constant& packed) {
  Constant plain = Constant::make(DataType::kFloat32, packed.dims);
  const std::int64_t per_channel = packed.size() / packed.dims[0];
  const auto* from = packed.data<std::int8_t>();
  auto* to = plain.data<float>();
  for (const float scale : packed.scales) {
    for (std::int64_t i = 0; i < per_channel; ++i) *to++ = static_cast<float>(*from++) * scale;
  }
  return plain;
}

void pack_weights(NetworkDefinition& network) {
  // By value: read by a kInt8 convolution as its weights, and by nobody else.
  std::vector<bool> by_int8(network.values.size(), false);
  std::vector<bool> by_others(network.values.size(), false);
  const auto mark = [](std::vector<bool>& marks, ValueId id) {
    if (id != kNoValue) marks[static_cast<std::size_t>(id)] = true;
  };
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    const bool int8 = network.quantization.layers[i].precision == Precision::kInt8;
    for (std::size_t k = 0; k < layer.inputs.size(); ++k) {
      mark(int8 && k == 1 ? by_int8 : by_others, layer.inputs[k]);
    }
    mark(by_others, layer.residual);
  }
  for (const ValueId id : network.outputs) mark(by_others, id);
  std::unordered_map<const Constant*, std::shared_ptr<const Constant>> packed;
  for (std::size_t i = 0; i < network.values.size(); ++i) {
    auto& constant = network.values[i].constant;
    if (!by_int8[i] || by_others[i] || constant->packed()) continue;
    auto& codes = packed[constant.get()];
    if (!codes) codes = std::make_shared<const Constant>(pack_weights(*constant));
    constant = codes;
  }
}

void unpack_weights(NetworkDefinition& network) {
  std::unordered_map<const Constant*, std::shared_ptr<const Constant>> plain;
  for (Value& value : network.values) {
    if (!value.constant || !value.constant->packed()) continue;
    auto& numbers = plain[value.constant.get()];
    if (!numbers) numbers = std::make_shared<const Constant>(unpack_weights(*value.constant));
    value.constant = numbers;
  }
}

bool moves_data(const NetworkDefinition& network, const Layer& layer) {
  const bool known = layer.op == OpType::kConcat || layer.op == OpType::kSplit ||
                     layer.op == OpType::kMaxPool || layer.op == OpType::kResize;
  if (!known || layer.inputs.empty() || layer.outputs.empty() ||
      layer.activation != Activation::kNone || layer.residual != kNoValue) {
    return false;
  }
  for (const ValueId id : moved_values(layer)) {
    if (id == kNoValue || !is_picture(network.value(id))) return false;
  }
  switch (layer.op) {
    case OpType::kConcat:
      return along_channels(network, layer, layer.outputs[0]);
    case OpType::kSplit:
      return along_channels(network, layer, layer.inputs[0]);
    case OpType::kMaxPool:
      return layer.outputs.size() == 1;
    default:
      return doubles_pixels(network, layer);
  }
}

bool can_be_int8(const NetworkDefinition& network, const Layer& layer) {
  if (layer.op != OpType::kConv || layer.inputs.size() < 2 || layer.outputs.size() != 1 ||
      !is_picture(network.value(layer.inputs[0])) || !is_picture(network.value(layer.outputs[0]))) {
    return false;
  }
  const std::int64_t groups = layer.int_attribute("group", 1);
  const bool depthwise = groups == network.value(layer.inputs[0]).dims[1] &&
                         groups == network.value(layer.outputs[0]).dims[1];
  if (groups != 1 && !depthwise) return false;
  const Constant* weights = constant_input(network, layer, 1);
  const Constant* bias = constant_input(network, layer, 2);
  const bool has_bias = layer.inputs.size() > 2 && layer.inputs[2] != kNoValue;
  const auto usable = [](const Constant& constant) {
    return constant.dtype == DataType::kFloat32 &&
           std::all_of(constant.data<float>(), constant.data<float>() + constant.size(),
                       [](float x) { return std::abs(x) <= kLargestScale; });
  };
  return weights != nullptr && weights->dims.size() == 4 &&
         (weights->packed() || usable(*weights)) &&
         (!has_bias || (bias != nullptr && usable(*bias)));
}

std::vector<std::int32_t> shared_grids(const NetworkDefinition& network) {
  // Union by index, the smallest of a set being its root.
  std::vector<std::int32_t> root(network.values.size());
  std::iota(root.begin(), root.end(), 0);
  const auto find = [&](ValueId id) {
    while (root[static_cast<std::size_t>(id)] != id) id = root[static_cast<std::size_t>(id)];
    return id;
  };
  const auto join = [&](ValueId a, ValueId b) {
    a = find(a);
    b = find(b);
    root[static_cast<std::size_t>(std::max(a, b))] = std::min(a, b);
  };
  std::vector<bool> excluded(network.values.size(), false);
  const auto exclude = [&](ValueId id) {
    if (id != kNoValue) excluded[static_cast<std::size_t>(id)] = true;
  };
  for (std::size_t i = 0; i < network.values.size(); ++i) {
    if (!is_picture(network.values[i])) excluded[i] = true;
  }
  for (const auto* ends : {&network.inputs, &network.outputs}) {
    for (const ValueId id : *ends) exclude(id);
  }
  for (const Layer& layer : network.layers) {
    if (moves_data(network, layer)) {
      for (const ValueId id : moved_values(layer)) join(layer.outputs[0], id);
    } else if (layer.op == OpType::kConv) {
      for (std::size_t i = 1; i < layer.inputs.size(); ++i) exclude(layer.inputs[i]);
      if (layer.residual != kNoValue) join(layer.outputs[0], layer.residual);
    } else {
      if (layer.op != OpType::kImageInput) {
        for (const ValueId id : layer.outputs) exclude(id);
      }
      for (const ValueId id : layer.inputs) exclude(id);
      exclude(layer.residual);
    }
  }
  // The picture is 0..255 as it comes; sharing its grid with activations would blur it.
  std::vector<bool> excluded_set(network.values.size(), false);
  std::vector<std::size_t> members(network.values.size(), 0);
  for (std::size_t i = 0; i < root.size(); ++i) {
    root[i] = find(static_cast<ValueId>(i));
    ++members[static_cast<std::size_t>(root[i])];
    if (excluded[i]) excluded_set[static_cast<std::size_t>(root[i])] = true;
  }
  for (const Layer& layer : network.layers) {
    if (layer.op != OpType::kImageInput) continue;
    const auto set = static_cast<std::size_t>(root[static_cast<std::size_t>(layer.outputs[0])]);
    if (members[set] > 1) excluded_set[set] = true;
  }
  for (std::int32_t& id : root) {
    if (excluded_set[static_cast<std::size_t>(id)]) id = kNoValue;
  }
  return root;
}

namespace {

// Whoever else read packed weights would take the codes for numbers.
Result<> check_packed_weights(const NetworkDefinition& network) {
  const auto packed = [&](ValueId id) {
    return id != kNoValue && network.value(id).constant && network.value(id).constant->packed();
  };
  const auto refused = [&](ValueId id, const std::string& reader) {
    return corrupt(fmt::format("{} reads '{}', which is packed", reader, network.value(id).name));
  };
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    const bool int8 = i < network.quantization.layers.size() &&
                      network.quantization.layers[i].precision == Precision::kInt8;
    for (std::size_t k = 0; k < layer.inputs.size(); ++k) {
      if (packed(layer.inputs[k]) && !(int8 && k == 1)) return refused(layer.inputs[k], layer.name);
    }
    if (packed(layer.residual)) return refused(layer.residual, layer.name);
  }
  for (const ValueId id : network.outputs) {
    if (packed(id)) return refused(id, "the output list");
  }
  return {};
}

}  // namespace

Result<> check_quantization(const NetworkDefinition& network) {
  FOVEA_TRY(check_packed_weights(network));
  const Quantization& quantization = network.quantization;
  if (quantization.empty()) return {};
  if (quantization.values.size() != network.values.size() ||
      quantization.layers.size() != network.layers.size()) {
    return corrupt(fmt::format("{} grids for {} values and {} precisions for {} layers",
                               quantization.values.size(), network.values.size(),
                               quantization.layers.size(), network.layers.size()));
  }
  const std::vector<std::int32_t> shared = shared_grids(network);
  const auto grid = [&](ValueId id) { return quantization.values[static_cast<std::size_t>(id)]; };
  for (std::size_t i = 0; i < network.values.size(); ++i) {
    const QuantizationGrid& own = quantization.values[i];
    const std::string& name = network.values[i].name;
    if (!valid_grid(own, 0)) {
      return corrupt(
          fmt::format("'{}' has scale {} and zero point {}", name, own.scale, own.zero_point));
    }
    if (own && shared[i] == kNoValue) return corrupt(fmt::format("'{}' cannot be uint8", name));
    if (shared[i] != kNoValue && own != grid(shared[i])) {
      return corrupt(fmt::format("'{}' and '{}' must have the same grid", name,
                                 network.value(shared[i]).name));
    }
  }
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    const LayerQuantization& own = quantization.layers[i];
    if (static_cast<std::size_t>(own.precision) >= kPrecisionNames.size()) {
      return corrupt(layer.name + " has an unknown precision");
    }
    if (!valid_grid(own.pre_activation, -128)) {
      return corrupt(fmt::format("{}: pre-activation has scale {} and zero point {}", layer.name,
                                 own.pre_activation.scale, own.pre_activation.zero_point));
    }
    if (layer.op == OpType::kImageInput && grid(layer.outputs[0]) &&
        grid(layer.outputs[0]) != QuantizationGrid{1, 0}) {
      return corrupt(layer.name + ": a picture's scale must be 1 and its zero point 0");
    }
    if (own.precision == Precision::kInt8 &&
        (!can_be_int8(network, layer) || !grid(layer.inputs[0]))) {
      return corrupt(layer.name + " cannot be int8");
    }
    if (!std::isfinite(own.low_value) || !std::isfinite(own.high_value)) {
      return corrupt(layer.name + ": the ends of its pre-activation are not finite");
    }
    if (own.pre_activation && (own.precision != Precision::kInt8 || !grid(layer.outputs[0]))) {
      return corrupt(layer.name + ": a pre-activation needs int8 and a uint8 output");
    }
  }
  return {};
}

}  // namespace fovea::engine
