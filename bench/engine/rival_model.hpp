// Copies of an ONNX file in the form that suits its rivals best: with one fixed input size, whole
// or cut off at the raw maps of its head (OpenCV cannot import what follows them).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace fovea::bench {

struct RivalModel {
  engine::Dims input;             // [1, 3, height, width]
  std::vector<std::string> ends;  // nodes whose outputs become the model's; empty = the model's own
  std::filesystem::path file;     // to write
};

// Errors: kNotFound for a node that `model` does not have, kCorrupt for no ONNX file, kInternal if
// it cannot be written.
Result<> write_rival_model(const std::filesystem::path& model, const RivalModel& wanted);

}  // namespace fovea::bench
