#include "nodes/detector/engine/quantization/quantizer.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include <fmt/core.h>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/quantization/calibration_ranges.hpp"

namespace fovea::engine {

namespace {

// A layer whose outputs never rise above this was dead in calibration; its scale must not vanish.
constexpr float kLeastHigh = 1e-4F;

struct Range {
  float low = 0;
  float high = kLeastHigh;
};

// What the model itself says about each set of values that share a grid.
std::unordered_map<std::int32_t, QuantizationGrid> own_grids(
    const NetworkDefinition& network, const std::vector<std::int32_t>& shared) {
  std::unordered_map<std::int32_t, QuantizationGrid> grids;
  for (std::size_t id = 0; id < shared.size(); ++id) {
    const auto own = network.own_grids.find(network.values[id].name);
    if (shared[id] == kNoValue || own == network.own_grids.end() || !own->second ||
        !valid_grid(own->second, 0)) {
      continue;
    }
    const auto [known, is_new] = grids.emplace(shared[id], own->second);
    if (!is_new) known->second = QuantizationGrid::covering(known->second, own->second);
  }
  return grids;
}

}  // namespace

std::string to_string(const QuantizationChoice& choice) {
  std::string text(to_string(choice.rule));
  if (choice.exact_activations) text += " exact-activations";
  for (std::size_t i = 0; i < choice.lifted.size(); ++i) {
    text += (i == 0 ? " lifted " : ",") + choice.lifted[i];
  }
  return text;
}

Result<std::vector<QuantizableLayer>> quantizable_layers(const NetworkDefinition& lowered) {
  FOVEA_ASSIGN(const NetworkDefinition shaped, with_shapes(lowered));
  const std::vector<std::int32_t> shared = shared_grids(shaped);
  const std::int64_t height = shaped.value(shaped.inputs[0]).dims[1];
  std::vector<QuantizableLayer> layers;
  for (const Layer& layer : shaped.layers) {
    if (!can_be_int8(shaped, layer) ||
        shared[static_cast<std::size_t>(layer.inputs[0])] == kNoValue) {
      continue;
    }
    const Dims& out = shaped.value(layer.outputs[0]).dims;
    const std::int64_t weights = shaped.value(layer.inputs[1]).constant->size();
    layers.push_back({layer.name, static_cast<std::uint64_t>(weights * out[2] * out[3]),
                      std::max<std::int64_t>(1, height / std::max<std::int64_t>(1, out[2]))});
  }
  return layers;
}

Result<> use_half_precision(NetworkDefinition& lowered, Precision half) {
  FOVEA_ASSIGN(const NetworkDefinition shaped, with_shapes(lowered));
  Quantization result;
  result.values.resize(shaped.values.size());
  result.layers.resize(shaped.layers.size());
  bool any = false;
  for (std::size_t i = 0; i < shaped.layers.size(); ++i) {
    const Layer& layer = shaped.layers[i];
    if (!can_be_int8(shaped, layer)) continue;
    // Depthwise convolutions are no matrix products.
    if (half == Precision::kBf16 && layer.int_attribute("group", 1) != 1) continue;
    result.layers[i].precision = half;
    any = true;
  }
  if (!any) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("no convolution of this network can be {}", to_string(half)));
  }
  lowered.quantization = std::move(result);
  return {};
}

Result<> quantize(NetworkDefinition& lowered, const CalibrationTable& table,
                  const QuantizationChoice& choice) {
  FOVEA_ASSIGN(const NetworkDefinition shaped, with_shapes(lowered));
  const std::vector<std::int32_t> shared = shared_grids(shaped);
  const auto set_of = [&](ValueId id) { return shared[static_cast<std::size_t>(id)]; };
  std::unordered_map<std::string_view, const LayerRanges*> ranges;
  for (const LayerRanges& one : table.layers) ranges.emplace(one.layer, &one);
  std::unordered_set<std::string_view> lifted(choice.lifted.begin(), choice.lifted.end());

  Quantization result;
  result.values.resize(shaped.values.size());
  result.layers.resize(shaped.layers.size());

  // What each set must cover, and whether 8 bits touch it.
  std::unordered_map<std::int32_t, Range> covers;
  std::unordered_set<std::int32_t> used;
  std::unordered_set<std::int32_t> pictures;
  const auto given = own_grids(shaped, shared);
  std::size_t int8_layers = 0;
  for (std::size_t i = 0; i < shaped.layers.size(); ++i) {
    const Layer& layer = shaped.layers[i];
    if (layer.op == OpType::kImageInput) pictures.insert(set_of(layer.outputs[0]));
    if (layer.op != OpType::kConv) continue;
    const std::int32_t out = set_of(layer.outputs[0]);
    const bool able = can_be_int8(shaped, layer);
    if (out != kNoValue) {
      const auto found = ranges.find(layer.name);
      if (found == ranges.end() && !given.contains(out)) {
        return fail(ErrorCode::kInvalidArgument,
                    table.layers.empty()
                        ? fmt::format("the model's own quantisation has no range for what '{}' "
                                      "writes, and nothing was calibrated",
                                      layer.name)
                        : fmt::format("the calibration table has no ranges for '{}'; it was made "
                                      "for another model",
                                      layer.name));
      }
      if (found != ranges.end()) {
        Range& range = covers[out];
        range.low = std::min(range.low, found->second->low);
        range.high =
            std::max(range.high, found->second->high[static_cast<std::size_t>(choice.rule)]);
      }
    }
    if (!able || set_of(layer.inputs[0]) == kNoValue || lifted.erase(layer.name) > 0) continue;
    result.layers[i].precision = Precision::kInt8;
    ++int8_layers;
    used.insert(set_of(layer.inputs[0]));
    if (out == kNoValue) continue;
    used.insert(out);
    if (choice.exact_activations || layer.activation == Activation::kNone) continue;
    Ends ends;
    if (const auto found = ranges.find(layer.name); found != ranges.end()) {
      const LayerRanges& own = *found->second;
      ends = {own.pre_low, own.pre_high, own.low_value, own.high_value};
    } else {  // the model's own grid is there, and says what of the activation can be seen
      ends = ends_for_output(given.at(out), layer.activation, layer.activation_alpha,
                             layer.residual != kNoValue);
    }
    result.layers[i].pre_activation =
        QuantizationGrid::over(ends.low, std::max(ends.high, kLeastHigh), -128);
    result.layers[i].low_value = ends.low_value;
    result.layers[i].high_value = ends.high_value;
  }
  if (!lifted.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is no convolution that could be int8", *lifted.begin()));
  }
  if (int8_layers == 0) {
    return fail(ErrorCode::kInvalidArgument, "no convolution is left for int8");
  }
  for (std::size_t id = 0; id < shared.size(); ++id) {
    const std::int32_t set = shared[id];
    if (set == kNoValue || !used.contains(set)) continue;
    if (pictures.contains(set)) {
      result.values[id] = {1, 0};
    } else if (const auto own = given.find(set); own != given.end()) {
      result.values[id] = own->second;
    } else if (const auto range = covers.find(set); range != covers.end()) {
      result.values[id] = QuantizationGrid::over(range->second.low, range->second.high, 0);
    }
  }
  NetworkDefinition checked = shaped;
  checked.quantization = result;
  FOVEA_TRY(check_quantization(checked));
  lowered.quantization = std::move(result);
  pack_weights(lowered);
  return {};
}

}  // namespace fovea::engine
