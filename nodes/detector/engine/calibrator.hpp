// Runs a network in f32 over sample pictures and learns the ranges that INT8 needs. Offline, in the
// builder: two passes over the pictures on the fastest provider, all intermediate pictures tapped,
// which takes about 100 MB at 640 x 640.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/calibration_table.hpp"

namespace fovea::engine {

struct CalibrationOptions {
  std::string provider = "cpu";
  std::int32_t threads = 1;
  double percentile = 99.999;  // of RangeRule::kPercentile, above 99 and at most 100
  std::string identity = {};   // goes into the table
};

// With fewer pictures a table is a guess; calibration refuses.
inline constexpr std::size_t kLeastCalibrationPictures = 8;
// From here on, more pictures were found to change nothing.
inline constexpr std::size_t kEnoughCalibrationPictures = 32;

// Writes picture `index`, u8 [height, width, 3] RGB as EngineInfo::input says, preprocessed as in
// the live run. Called twice per picture, in order, on the calling thread.
using PictureSource = std::function<Result<>(std::size_t index, std::span<std::byte> picture)>;

// `lowered` comes from lower(). Errors: kInvalidArgument for too few pictures or a percentile out
// of range; kUnsupported if no convolution can be int8 or if activations are not finite, naming the
// layer; the source's and the provider's.
Result<CalibrationTable> calibrate(const NetworkDefinition& lowered, std::size_t pictures,
                                   const PictureSource& source, const CalibrationOptions& options,
                                   const Progress& progress = {});

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

// Gives `lowered` its grids and precisions. Values that no kInt8 convolution reads or writes keep
// f32. Errors: kInvalidArgument if the table is not this network's, naming the layer.
Result<> quantize(NetworkDefinition& lowered, const CalibrationTable& table,
                  const QuantizationChoice& choice = {});

// Convolutions that quantize() can make kInt8, in order, with their multiply-accumulates for one
// picture and the input pixels per output pixel along a side.
struct QuantizableLayer {
  std::string name;
  std::uint64_t macs = 0;
  std::int64_t stride = 1;
};
Result<std::vector<QuantizableLayer>> quantizable_layers(const NetworkDefinition& lowered);

}  // namespace fovea::engine
