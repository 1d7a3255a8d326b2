// Calibration from a plain folder of pictures, with a cache file: everything between the engine's
// calibrate() and a user's options.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "nodes/detector/accuracy/detection_pipeline.hpp"
#include "nodes/detector/engine/quantization/calibrator.hpp"

namespace fovea {

struct CalibrationRequest {
  std::filesystem::path folder;  // pictures; may be empty if `cache` exists
  std::filesystem::path cache;   // table file, reused if it was made from the same; may be empty
  bool must_keep = false;        // a cache that cannot be written is an error, before anything runs
  std::size_t most_pictures = 128;  // spread evenly over a larger folder
  double percentile = 99.999;
  std::int32_t threads = 1;
};

struct Calibrated {
  engine::CalibrationTable table;
  bool reused = false;
  std::string replaced;  // why a cache file was not taken; empty if there was none
  std::string note;      // what to know about the pictures or the new cache file
};

// `fp32` is the plan of the model as it will run. Errors: kInvalidArgument or kNotFound for a
// folder without enough pictures, saying what is needed; kCorrupt for a picture that cannot be read
// or, without a folder, a cache file that is damaged or another model's; calibrate()'s.
Result<Calibrated> calibrate_from(const CalibrationRequest& request, const engine::Plan& fp32,
                                  const PictureReader& reader,
                                  const engine::Progress& progress = {});

}  // namespace fovea
