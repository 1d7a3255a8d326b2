// Runs a network in f32 over sample pictures and learns the ranges that INT8 needs. Offline, in the
// builder: two passes over the pictures on the fastest provider, all intermediate pictures tapped,
// which takes about 100 MB at 640 x 640.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/quantization/calibration_table.hpp"

namespace fovea::engine {

struct CalibrationOptions {
  std::string provider = "cpu";
  std::int32_t threads = 1;
  double percentile = 99.999;  // of RangeRule::kPercentile, above 99 and at most 100
  // Go into the table; see CalibrationTable.
  std::string model_hash = {};
  std::string identity = {};
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

}  // namespace fovea::engine
