#include "nodes/detector/engine/reference/rounding.hpp"

#include <algorithm>
#include <cmath>

#include "nodes/detector/engine/reference/operators.hpp"

namespace fovea::engine::reference {

namespace {

std::span<float> floats(Constant& tensor) {
  return {tensor.data<float>(), static_cast<std::size_t>(tensor.size())};
}

// Nearest code, ties to even, clamped; NaN is the lowest.
std::int32_t code_of(const QuantizationGrid& grid, std::int32_t first_code, float value) {
  const auto lowest = static_cast<float>(first_code);
  const float code =
      std::nearbyint(std::fma(value, 1 / grid.scale, static_cast<float>(grid.zero_point)));
  return static_cast<std::int32_t>(std::min(std::max(lowest, code), lowest + 255.0F));
}

}  // namespace

void round_to_grid(const QuantizationGrid& grid, std::int32_t first_code, std::span<float> values) {
  for (float& value : values) {
    value = static_cast<float>(code_of(grid, first_code, value) - grid.zero_point) * grid.scale;
  }
}

void round_weights(NetworkDefinition& network) {
  if (network.quantization.empty()) return;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    if (network.quantization.layers[i].precision != Precision::kInt8) continue;
    const Constant& weights = *network.value(network.layers[i].inputs[1]).constant;
    auto plain = std::make_shared<const Constant>(
        unpack_weights(weights.packed() ? weights : pack_weights(weights)));
    // Not in place: another layer may read the same constant in f32.
    const ValueId rounded = network.add_constant(network.layers[i].name + ":s8", std::move(plain));
    network.layers[i].inputs[1] = rounded;
    network.quantization.values.resize(network.values.size());
  }
}

Rounding::Rounding(const NetworkDefinition& network, std::size_t layer) {
  if (network.quantization.empty()) return;
  const Layer& source = network.layers[layer];
  pre_activation_ = network.quantization.layers[layer].pre_activation;
  for (const ValueId id : source.outputs) {
    outputs_.push_back(network.quantization.values[static_cast<std::size_t>(id)]);
  }
  any_ = splits_layer() || std::any_of(outputs_.begin(), outputs_.end(),
                                       [](const QuantizationGrid& grid) { return bool(grid); });
  if (!splits_layer()) return;
  plain_ = source;
  plain_.activation = Activation::kNone;
  plain_.residual = kNoValue;
  for (std::size_t i = 0; i < table_.size(); ++i) {
    table_[i] = static_cast<float>(static_cast<int>(i) - 128 - pre_activation_.zero_point) *
                pre_activation_.scale;
  }
  apply_activation(source.activation, source.activation_alpha, table_.data(), table_.size());
  table_.front() = network.quantization.layers[layer].low_value;
  table_.back() = network.quantization.layers[layer].high_value;
}

void Rounding::apply(std::span<Constant* const> outputs, const Constant* residual) const {
  if (splits_layer()) {
    const std::span<float> values = floats(*outputs[0]);
    for (float& value : values) {
      value = table_[static_cast<std::size_t>(code_of(pre_activation_, -128, value) + 128)];
    }
    if (residual != nullptr) {
      // The table gives a code; codes are added.
      round_to_grid(outputs_[0], 0, values);
      for (std::size_t i = 0; i < values.size(); ++i) values[i] += residual->data<float>()[i];
    }
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i]) round_to_grid(outputs_[i], 0, floats(*outputs[i]));
  }
}

}  // namespace fovea::engine::reference
