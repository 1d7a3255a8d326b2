#include "nodes/detector/engine/passes/head_maps.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>
#include <utility>

#include "nodes/detector/engine/passes/graph.hpp"

namespace fovea::engine {

namespace {

constexpr std::size_t kMaxLevels = 8;
constexpr std::int64_t kMostBest = 1000;  // exporters say 300
constexpr std::int64_t kMostProofs = 8;   // of every class among the best

// The projection inside the tail, [1, reg_max, 1, 1] holding 0, 1, 2, ...: not a map.
bool is_projection(const NetworkDefinition& network, const Layer& conv) {
  const Constant* weights = float_constant(network, conv.inputs[1]);
  if (weights == nullptr || weights->dims[0] != 1) return false;
  const float tolerance = projection_tolerance(network);
  for (std::int64_t i = 0; i < weights->size(); ++i) {
    const float error = std::abs(weights->data<float>()[i] - static_cast<float>(i));
    if (!(error <= tolerance)) return false;
  }
  return true;
}

using Levels = std::vector<std::vector<ValueId>>;  // maps of one size, the largest size first

// In the same order on every level, as far as their channels tell them apart. Empty unless every size
// has two maps or every size three.
Levels levels_of(const NetworkDefinition& shaped, std::vector<ValueId> maps) {
  const auto dims = [&](ValueId id) -> const Dims& { return shaped.value(id).dims; };
  if (std::any_of(maps.begin(), maps.end(), [&](ValueId id) { return dims(id).size() != 4; })) {
    return {};
  }
  std::sort(maps.begin(), maps.end(), [&](ValueId a, ValueId b) {
    return std::tuple(-dims(a)[2], dims(a)[1], a) < std::tuple(-dims(b)[2], dims(b)[1], b);
  });
  Levels levels;
  for (const ValueId id : maps) {
    if (levels.empty() || dims(levels.back()[0])[2] != dims(id)[2]) levels.emplace_back();
    levels.back().push_back(id);
    if (dims(levels.back()[0])[3] != dims(id)[3]) return {};
  }
  if (levels.empty() || levels.size() > kMaxLevels) return {};
  const std::size_t each = levels[0].size();
  if (each < 2 || each > 3) return {};
  for (const auto& level : levels) {
    if (level.size() != each) return {};
  }
  return levels;
}

// The level whose maps these are; nullopt if its cells do not divide the input.
std::optional<MapLevel> level_of(const NetworkDefinition& shaped, const std::vector<ValueId>& maps,
                                 const std::vector<std::size_t>& order) {
  const Dims& input = shaped.value(shaped.inputs[0]).dims;
  MapLevel level{maps[order[0]], maps[order[1]], order.size() > 2 ? maps[order[2]] : kNoValue};
  level.height = shaped.value(level.box).dims[2];
  level.width = shaped.value(level.box).dims[3];
  if (level.height < 1 || level.width < 1) return std::nullopt;
  const std::int64_t stride = input[2] / level.height;
  if (stride * level.height != input[2] || stride * level.width != input[3]) return std::nullopt;
  level.stride = static_cast<std::int32_t>(stride);
  return level;
}

// `order`: which of a level's maps is that of the boxes, of the scores, and the third.
std::optional<HeadMaps> head_of(const NetworkDefinition& shaped, const Levels& levels,
                                const std::vector<std::size_t>& order) {
  HeadMaps head;
  for (const std::vector<ValueId>& maps : levels) {
    const auto level = level_of(shaped, maps, order);
    if (!level) return std::nullopt;
    const std::int64_t box = shaped.value(level->box).dims[1];
    const std::int64_t scores = shaped.value(level->scores).dims[1];
    const std::int64_t more = level->more == kNoValue ? 0 : shaped.value(level->more).dims[1];
    if (head.levels.empty()) {
      head.reg_max = box / 4;
      head.classes = scores;
      head.more_channels = more;
    } else if (head.levels.back().stride >= level->stride) {
      return std::nullopt;
    }
    if (box < 4 || box != 4 * head.reg_max || scores < 1 || scores != head.classes ||
        more != head.more_channels) {
      return std::nullopt;
    }
    head.anchors += level->height * level->width;
    head.levels.push_back(*level);
  }
  return head;
}

// Whether an output has room for what is made of the maps: sets `best`.
bool fits(HeadMaps& head, const Dims& output, bool suppressed) {
  if (output[1] == 4 + head.classes + head.more_channels && output[2] == head.anchors) return true;
  head.best = !suppressed && output[2] == kBestFields + head.more_channels && output[1] >= 1 &&
              output[1] <= std::min(kMostBest, head.anchors * head.classes) &&
              head.classes <= kMostProofs * output[1];
  return head.best;
}

// Keypoints of two or of three numbers each, offsets from either point of a cell.
void add_keypoints(std::int64_t channels, std::vector<LevelMap>& kinds) {
  for (const std::uint32_t values : {3U, 2U}) {
    if (channels % values != 0) continue;
    for (const auto encoding : {OutputEncoding::kTwiceOffset, OutputEncoding::kCentreOffset}) {
      kinds.push_back(
          {OutputRole::kKeypoints, encoding, static_cast<std::uint32_t>(channels), values});
    }
  }
}

}  // namespace

float projection_tolerance(const NetworkDefinition& network) {
  // Half a code of 7 bits.
  return network.own_grids.empty() ? 0.0F : 0.15F;
}

std::vector<ValueId> last_convolutions(const NetworkDefinition& network, ValueId output) {
  return nearest_written(network, output, [&](const Layer& layer) {
    return layer.op == OpType::kConv && !is_projection(network, layer);
  });
}

std::vector<HeadMaps> possible_heads(const NetworkDefinition& shaped, std::vector<ValueId> maps,
                                     const Dims& output) {
  if (output.size() != 3 || shaped.value(shaped.inputs[0]).dims.size() != 4) return {};
  const Levels levels = levels_of(shaped, std::move(maps));
  std::vector<HeadMaps> heads;
  if (levels.empty()) return heads;
  std::vector<std::size_t> order(levels.front().size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  do {
    auto head = head_of(shaped, levels, order);
    if (head && fits(*head, output, shaped.suppression_cut)) heads.push_back(*std::move(head));
  } while (std::next_permutation(order.begin(), order.end()));
  return heads;
}

std::vector<Reading> possible_readings(const HeadMaps& maps, bool suppressed) {
  std::vector<Reading> readings;
  // Rows of best boxes are corners; only suppression is known to read either.
  const auto add = [&](const std::optional<LevelMap>& more) {
    const bool turned = more && more->role == OutputRole::kAngle;
    if (turned || !maps.best) readings.push_back({more, false});
    if (!turned && (maps.best || suppressed)) readings.push_back({more, true});
  };
  if (maps.more_channels == 0) {
    add(std::nullopt);
    return readings;
  }
  std::vector<LevelMap> kinds;
  if (maps.more_channels == 1) {
    kinds.push_back({OutputRole::kAngle, OutputEncoding::kLogit});
    kinds.push_back({OutputRole::kAngle, OutputEncoding::kDecoded});
  }
  add_keypoints(maps.more_channels, kinds);
  kinds.push_back({OutputRole::kMaskCoefficients, OutputEncoding::kDecoded,
                   static_cast<std::uint32_t>(maps.more_channels)});
  for (const LevelMap& kind : kinds) add(kind);
  return readings;
}

}  // namespace fovea::engine
