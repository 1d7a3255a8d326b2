// What a model's metadata say of how a picture becomes its input. Ultralytics' exports say nothing of
// it; OpenVINO's training tools do, and whoever exports a model may write our parameters' names.
//
// Thread safety: pure functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nodes/base/input_spec.hpp"

namespace fovea::engine {

struct PictureMetadata {
  InputChoice choice;
  std::vector<std::string>
      problems;  // a line for each value that cannot be read, which is left out
};

// Keys `color`, `value_range`, `mean`, `std`, `resize` and `pad`, as the parameters have them; else
// "model_info mean_values", "model_info scale_values" (both of 0..255), "model_info resize_type" and
// "model_info pad_value".
PictureMetadata read_picture_metadata(const std::map<std::string, std::string>& metadata);

}  // namespace fovea::engine
