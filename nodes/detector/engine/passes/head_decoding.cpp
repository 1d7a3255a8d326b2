#include "nodes/detector/engine/passes/head_decoding.hpp"

#include <array>
#include <cmath>
#include <numbers>

#include <fmt/core.h>

namespace fovea::engine {

namespace {

using reference::Tensor;
using reference::TensorMap;

using Four = std::array<float, 4>;

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }

// Reads the channels of one cell.
struct Cell {
  const float* map;
  std::int64_t plane;
  std::int64_t at;

  float operator[](std::int64_t channel) const { return map[channel * plane + at]; }
};

// Left, top, right and bottom, in cells: of a distribution its expectation.
Four distances(const Cell& box, std::int64_t reg_max) {
  Four sides{};
  for (std::int64_t s = 0; s < 4; ++s) {
    float sum = 0;
    float weighted = 0;
    for (std::int64_t bin = 0; bin < reg_max; ++bin) {
      const float e = std::exp(box[s * reg_max + bin]);
      sum += e;
      weighted += e * static_cast<float>(bin);
    }
    sides[static_cast<std::size_t>(s)] = reg_max == 1 ? box[s] : weighted / sum;
  }
  return sides;
}

// Centre and size, in cells. The centre lies off the anchor along the box's own axes.
Four turned_box(const Four& sides, float x, float y, float angle) {
  const float along = (sides[2] - sides[0]) / 2;
  const float across = (sides[3] - sides[1]) / 2;
  const float cosine = std::cos(angle);
  const float sine = std::sin(angle);
  return {x + along * cosine - across * sine, y + along * sine + across * cosine,
          sides[0] + sides[2], sides[1] + sides[3]};
}

Four straight_box(const Four& sides, float x, float y, bool corners) {
  const Four box = {x - sides[0], y - sides[1], x + sides[2], y + sides[3]};
  if (corners) return box;
  return {(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]};
}

float decoded_angle(const LevelMap& map, float value) {
  if (map.encoding != OutputEncoding::kLogit) return value;
  return (sigmoid(value) - 0.25F) * std::numbers::pi_v<float>;
}

// Channel `c` of the third map. `centre`: x and y of the cell's, in cells.
float decoded_more(const LevelMap& map, std::int64_t c, float value,
                   const std::array<float, 2>& centre, float stride) {
  if (map.role == OutputRole::kAngle) return decoded_angle(map, value);
  if (map.role != OutputRole::kKeypoints) return value;
  const auto axis = static_cast<std::size_t>(c % map.point_values);
  if (axis == 2) return sigmoid(value);
  const float cells = map.encoding == OutputEncoding::kTwiceOffset ? 2 * value + centre[axis] - 0.5F
                                                                   : value + centre[axis];
  return cells * stride;
}

}  // namespace

Tensor decoded(const HeadMaps& head, const Reading& reading, const TensorMap& maps) {
  const std::int64_t anchors = head.anchors;
  Tensor all = Tensor::make(DataType::kFloat32, {4 + head.classes + head.more_channels, anchors});
  float* out = all.data<float>();
  for (std::size_t l = 0; l < head.levels.size(); ++l) {
    const MapLevel& level = head.levels[l];
    const std::int64_t plane = level.height * level.width;
    const auto map_of = [&](const char* kind) {
      return maps.at(fmt::format("{}{}", kind, l)).data<float>();
    };
    const float* box = map_of("box");
    const float* scores = map_of("cls");
    const float* more = reading.more ? map_of("more") : nullptr;
    const auto stride = static_cast<float>(level.stride);
    for (std::int64_t p = 0; p < plane; ++p) {
      const std::array<float, 2> centre = {static_cast<float>(p % level.width) + 0.5F,
                                           static_cast<float>(p / level.width) + 0.5F};
      const Four sides = distances({box, plane, p}, head.reg_max);
      const bool turned = reading.more && reading.more->role == OutputRole::kAngle;
      const Four cells =
          turned ? turned_box(sides, centre[0], centre[1], decoded_angle(*reading.more, more[p]))
                 : straight_box(sides, centre[0], centre[1], reading.corners);
      float* to = out + p;
      for (const float value : cells) {
        *to = value * stride;
        to += anchors;
      }
      for (std::int64_t c = 0; c < head.classes; ++c, to += anchors) {
        *to = sigmoid(scores[c * plane + p]);
      }
      for (std::int64_t c = 0; more != nullptr && c < head.more_channels; ++c, to += anchors) {
        *to = decoded_more(*reading.more, c, more[c * plane + p], centre, stride);
      }
    }
    out += plane;
  }
  return all;
}

}  // namespace fovea::engine
