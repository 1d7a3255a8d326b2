// Made-up heads that give more than boxes: keypoints, angles, masks.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "nodes/postprocess/postprocessor.hpp"
#include "tests/postprocess/heads.hpp"

namespace fovea::test {

inline constexpr std::array<std::uint32_t, 2> kStrides{8, 16};
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

inline msgs::ModelInfo model_of(const HeadSpec& head, std::uint32_t classes) {
  msgs::ModelInfo model;
  model.head = head;
  model.network_width = model.network_height = 160;
  for (std::uint32_t c = 0; c < classes; ++c) {
    model.class_names.push_back(std::string_view(fmt::format("class{}", c)));
  }
  return model;
}

// Heads of one bin, so that distances are written as they are; two classes.
inline msgs::ModelInfo level_model(const LevelMap& more) {
  HeadSpec head = dfl_head(2, 1, kStrides, Suppression::kNeeded, more);
  if (more.role == OutputRole::kMaskCoefficients) head.maps.push_back(prototypes(more.channels, 4));
  return model_of(head, 2);
}
inline msgs::ModelInfo pose_model(OutputEncoding encoding, std::uint32_t values = 3) {
  return level_model({.role = OutputRole::kKeypoints,
                      .encoding = encoding,
                      .channels = 2 * values,
                      .point_values = values});
}
inline msgs::ModelInfo obb_model(OutputEncoding encoding) {
  return level_model({.role = OutputRole::kAngle, .encoding = encoding});
}
inline msgs::ModelInfo segment_model(std::uint32_t channels = 2) {
  return level_model({.role = OutputRole::kMaskCoefficients, .channels = channels});
}

// All scores far below any threshold, all else 0.
inline Head quiet_head(const msgs::ModelInfo& model) {
  Head head;
  for (const OutputMap& map : model.head.maps) {
    const std::int64_t side = 160 / map.stride;
    head.add(std::string(map.tensor.view()), {side, side, map.channels});
    if (map.role == OutputRole::kClassScore) {
      std::fill(head.maps.back().values.begin(), head.maps.back().values.end(), -20.0f);
    }
  }
  return head;
}

inline float* at(Head& head, std::string_view name, std::int64_t row, std::int64_t column) {
  for (Head::Map& map : head.maps) {
    if (map.name == name) return &map.values[(row * map.dims[1] + column) * map.dims[2]];
  }
  std::abort();
}

// An object in cell (row, column) of level 0: `sides` in cells of 8 pixels around its centre.
inline void put(Head& head, std::int64_t row, std::int64_t column, std::array<float, 4> sides,
                std::uint32_t class_id, float logit, std::string_view map = "",
                std::initializer_list<float> values = {}) {
  std::copy(sides.begin(), sides.end(), at(head, "box0", row, column));
  at(head, "cls0", row, column)[class_id] = logit;
  if (!map.empty()) std::copy(values.begin(), values.end(), at(head, map, row, column));
}

inline Postprocessor make(const msgs::ModelInfo& model, const PostprocessOptions& options = {}) {
  auto postprocessor = Postprocessor::create(model, options);
  if (!postprocessor) throw std::runtime_error(postprocessor.error().message);
  return std::move(*postprocessor);
}

inline std::string refusal_of(const msgs::ModelInfo& model) {
  const auto refused = Postprocessor::create(model);
  return refused ? "" : refused.error().message;
}

}  // namespace fovea::test
