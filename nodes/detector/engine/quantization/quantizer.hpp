// From calibrated ranges to 8-bit grids: which layers become int8, and how.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/quantization/calibration_table.hpp"

namespace fovea::engine {

// How a calibrated network is quantised: what the accuracy guard varies.
struct QuantizationChoice {
  RangeRule rule = RangeRule::kPercentile;
  // Activations in f32 from the 32-bit sums, instead of 256-entry tables behind an s8 rounding:
  // about an eighth slower, closer to f32.
  bool exact_activations = false;
  std::vector<std::string> lifted = {};  // convolutions that stay f32, by name

  bool operator==(const QuantizationChoice&) const = default;
};
// "percentile", "mse exact-activations lifted a,b": for people and keys.
std::string to_string(const QuantizationChoice& choice);

// Gives `lowered` its grids, precisions and packed weights. Grids of the model's own (own_grids) go
// before the table's ranges; a layer that the table lacks has exact activations, and an error
// unless the model says what it writes. Values that no kInt8 convolution reads or writes keep f32.
// Errors: kInvalidArgument if the table is not this network's, naming the layer.
Result<> quantize(NetworkDefinition& lowered, const CalibrationTable& table,
                  const QuantizationChoice& choice = {});

// Every convolution that can be in half precision, weights and pixels; nothing to calibrate.
// Errors: kUnsupported if there is none.
Result<> use_half_precision(NetworkDefinition& lowered, Precision half = Precision::kFp16);

// Convolutions that quantize() can make kInt8, in order, with their multiply-accumulates for one
// picture and the input pixels per output pixel along a side.
struct QuantizableLayer {
  std::string name;
  std::uint64_t macs = 0;
  std::int64_t stride = 1;
};
Result<std::vector<QuantizableLayer>> quantizable_layers(const NetworkDefinition& lowered);

}  // namespace fovea::engine
