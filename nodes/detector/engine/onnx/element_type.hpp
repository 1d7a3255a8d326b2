// ONNX's numbers of the element types that networks have.
#pragma once

#include <array>
#include <optional>
#include <utility>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

inline constexpr std::array<std::pair<DataType, int>, 7> kOnnxTypes{{{DataType::kFloat32, 1},
                                                                     {DataType::kUint8, 2},
                                                                     {DataType::kInt8, 3},
                                                                     {DataType::kInt32, 6},
                                                                     {DataType::kInt64, 7},
                                                                     {DataType::kBool, 9},
                                                                     {DataType::kFloat16, 10}}};

constexpr int onnx_type(DataType dtype) {
  for (const auto& [ours, number] : kOnnxTypes) {
    if (ours == dtype) return number;
  }
  return 0;  // undefined
}

// nullopt for one that networks do not have.
constexpr std::optional<DataType> type_of_onnx(int type) {
  for (const auto& [ours, number] : kOnnxTypes) {
    if (number == type) return ours;
  }
  return std::nullopt;
}

}  // namespace fovea::engine
