#include "nodes/base/head_spec.hpp"

#include <algorithm>

#include <fmt/core.h>

#include "nodes/base/text.hpp"

namespace fovea {

namespace {

constexpr std::uint32_t kMaxStride = 1U << 15;
constexpr std::uint32_t kMaxChannels = 1U << 20;  // sums and products with it stay in 32 bits
constexpr std::uint32_t kMaxBins = 1024;

template <class Enum, std::size_t N>
std::string_view name_of(Enum value, const std::array<std::string_view, N>& names) {
  const auto index = static_cast<std::size_t>(value);
  return index < N ? names[index] : "invalid";
}

std::string problem_of(const OutputMap& map) {
  if (static_cast<std::size_t>(map.role) >= kOutputRoleNames.size()) {
    return fmt::format("role is {}; it must be below {}", static_cast<std::uint32_t>(map.role),
                       kOutputRoleNames.size());
  }
  if (static_cast<std::size_t>(map.encoding) >= kOutputEncodingNames.size()) {
    return fmt::format("encoding is {}; it must be below {}",
                       static_cast<std::uint32_t>(map.encoding), kOutputEncodingNames.size());
  }
  if (static_cast<std::size_t>(map.anchors) >= kAnchorAxisNames.size()) {
    return fmt::format("anchors is {}; it must be below {}",
                       static_cast<std::uint32_t>(map.anchors), kAnchorAxisNames.size());
  }
  if (map.tensor.view().empty()) return "it names no tensor";
  if (map.stride > kMaxStride) {
    return fmt::format("stride is {}; it must be at most {}", map.stride, kMaxStride);
  }
  if (map.channels < 1 || map.channels > kMaxChannels || map.first_channel > kMaxChannels) {
    return fmt::format("it has {} channels from {} on; it must have 1..{} from 0..{} on",
                       map.channels, map.first_channel, kMaxChannels, kMaxChannels);
  }
  const bool has_points = map.role == OutputRole::kKeypoints;
  if (has_points
          ? map.point_values < 2 || map.point_values > 3 || map.channels % map.point_values != 0
          : map.point_values != 0) {
    return fmt::format(
        "point_values is {} of {} channels; {}", map.point_values, map.channels,
        has_points ? "it must be 2 or 3 and divide them" : "only keypoints have such");
  }
  if (map.role == OutputRole::kClassIndex ? map.classes < 1 || map.classes > kMaxChannels
                                          : map.classes != 0) {
    return fmt::format("classes is {}; of a class index it must be 1..{}, else 0", map.classes,
                       kMaxChannels);
  }
  if (map.encoding != OutputEncoding::kDistribution) {
    return map.bins == 0 ? "" : fmt::format("bins is {} without a distribution", map.bins);
  }
  if (map.bins < 1 || map.bins > kMaxBins || map.channels % map.bins != 0) {
    return fmt::format("bins is {} of {} channels; it must be 1..{} and divide them", map.bins,
                       map.channels, kMaxBins);
  }
  return "";
}

std::string conflict_of(const OutputMap& a, const OutputMap& b) {
  if (a.role == OutputRole::kClassScore && b.role == OutputRole::kClassScore &&
      a.channels != b.channels) {
    return fmt::format("scores of {} and of {} classes", a.channels, b.channels);
  }
  if (a.tensor != b.tensor) return "";
  if (a.anchors != b.anchors || a.stride != b.stride) return "they read one tensor in two ways";
  if (a.first_channel < b.first_channel + b.channels &&
      b.first_channel < a.first_channel + a.channels) {
    return "their channels overlap";
  }
  return "";
}

// Of LevelMap.
std::string_view name_of(OutputRole role) {
  switch (role) {
    case OutputRole::kMaskCoefficients:
      return "msk";
    case OutputRole::kKeypoints:
      return "kpt";
    case OutputRole::kAngle:
      return "ang";
    default:
      return "map";
  }
}

OutputMap raw_map(std::string_view tensor, std::uint32_t stride) {
  OutputMap map;
  map.tensor = tensor;
  map.anchors = AnchorAxis::kOutermost;
  map.stride = stride;
  return map;
}

OutputMap raw_map(std::string_view kind, std::size_t level, std::uint32_t stride) {
  return raw_map(fmt::format("{}{}", kind, level), stride);
}

// Maps that lie one behind the other in `output0`.
HeadSpec one_tensor(AnchorAxis anchors,
                    std::initializer_list<std::pair<OutputRole, std::uint32_t>> parts) {
  HeadSpec head;
  std::uint32_t channel = 0;
  for (const auto& [role, channels] : parts) {
    OutputMap map;
    map.tensor = std::string_view("output0");
    map.role = role;
    map.anchors = anchors;
    map.first_channel = channel;
    map.channels = channels;
    channel += channels;
    head.maps.push_back(map);
  }
  return head;
}

}  // namespace

const OutputMap* HeadSpec::find(OutputRole role) const {
  const auto* map =
      std::find_if(maps.begin(), maps.end(), [&](const OutputMap& m) { return m.role == role; });
  return map == maps.end() ? nullptr : map;
}

Task HeadSpec::task() const {
  if (find(OutputRole::kSemantic) != nullptr) return Task::kSemantic;
  if (find(OutputRole::kDepth) != nullptr) return Task::kDepth;
  if (find(OutputRole::kAngle) != nullptr) return Task::kObb;
  if (find(OutputRole::kKeypoints) != nullptr) return Task::kPose;
  if (find(OutputRole::kMaskCoefficients) != nullptr) return Task::kSegment;
  return find(OutputRole::kBox) != nullptr ? Task::kDetect : Task::kClassify;
}

std::uint32_t HeadSpec::classes() const {
  if (const OutputMap* index = find(OutputRole::kClassIndex)) return index->classes;
  const OutputMap* scores = find(OutputRole::kClassScore);
  if (scores == nullptr) scores = find(OutputRole::kSemantic);
  return scores == nullptr ? 0 : scores->channels;
}

std::uint32_t HeadSpec::bins() const {
  const OutputMap* box = find(OutputRole::kBox);
  return box == nullptr ? 0 : box->bins;
}

std::vector<std::uint32_t> HeadSpec::strides() const {
  std::vector<std::uint32_t> strides;
  for (const OutputMap& map : maps) {
    if (map.role == OutputRole::kBox && map.stride > 0) strides.push_back(map.stride);
  }
  return strides;
}

std::uint32_t HeadSpec::channels_of(std::string_view tensor) const {
  std::uint32_t channels = 0;
  for (const OutputMap& map : maps) {
    if (map.tensor.view() == tensor)
      channels = std::max(channels, map.first_channel + map.channels);
  }
  return channels;
}

bool HeadSpec::channels_last(std::string_view tensor) const {
  return std::any_of(maps.begin(), maps.end(), [&](const OutputMap& map) {
    return map.stride > 0 && map.anchors == AnchorAxis::kOutermost && map.tensor.view() == tensor;
  });
}

std::string problem_of(const HeadSpec& spec) {
  if (spec.maps.size() > HeadSpec::kMaxMaps) {
    return fmt::format("the head has {} maps; it must have at most {}", spec.maps.size(),
                       HeadSpec::kMaxMaps);
  }
  if (static_cast<std::size_t>(spec.suppression) >= kSuppressionNames.size()) {
    return fmt::format("the head's suppression is {}; it must be 0..{}",
                       static_cast<std::uint32_t>(spec.suppression), kSuppressionNames.size() - 1);
  }
  for (std::size_t i = 0; i < spec.maps.size(); ++i) {
    if (const std::string problem = problem_of(spec.maps[i]); !problem.empty()) {
      return fmt::format("map {} of the head: {}", i, problem);
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (const std::string conflict = conflict_of(spec.maps[k], spec.maps[i]); !conflict.empty()) {
        return fmt::format("maps {} and {} of the head: {}", k, i, conflict);
      }
    }
  }
  return "";
}

std::string to_string(const HeadSpec& spec) {
  std::string text;
  for (const OutputMap& map : spec.maps) {
    text +=
        fmt::format("{}{} in {}: {}", text.empty() ? "" : "; ", name_of(map.role, kOutputRoleNames),
                    shown(map.tensor.view()), name_of(map.encoding, kOutputEncodingNames));
    if (map.bins > 0) text += fmt::format(" of {}", map.bins);
    if (map.classes > 0) text += fmt::format(" of {} classes", map.classes);
    if (map.point_values > 0) text += fmt::format(" of {} values", map.point_values);
    text += fmt::format(", {}", name_of(map.anchors, kAnchorAxisNames));
    if (map.stride > 0) text += fmt::format(", stride {}", map.stride);
    text +=
        fmt::format(", channels {}..{}", map.first_channel, map.first_channel + map.channels - 1);
  }
  if (spec.suppression == Suppression::kNone) text += "; nothing to suppress";
  return text;
}

HeadSpec dfl_head(std::uint32_t classes, std::uint32_t bins, std::span<const std::uint32_t> strides,
                  Suppression suppression, std::optional<LevelMap> more) {
  HeadSpec head;
  head.suppression = suppression;
  for (std::size_t level = 0; level < strides.size(); ++level) {
    OutputMap box = raw_map("box", level, strides[level]);
    box.encoding = OutputEncoding::kDistribution;
    box.channels = 4 * bins;
    box.bins = bins;
    head.maps.push_back(box);
    OutputMap scores = raw_map("cls", level, strides[level]);
    scores.role = OutputRole::kClassScore;
    scores.encoding = OutputEncoding::kLogit;
    scores.channels = classes;
    head.maps.push_back(scores);
    if (!more) continue;
    OutputMap map = raw_map(name_of(more->role), level, strides[level]);
    map.role = more->role;
    map.encoding = more->encoding;
    map.channels = more->channels;
    map.point_values = more->point_values;
    head.maps.push_back(map);
  }
  return head;
}

OutputMap prototypes(std::uint32_t channels, std::uint32_t stride) {
  OutputMap map = raw_map("proto", stride);
  map.role = OutputRole::kPrototype;
  map.channels = channels;
  return map;
}

HeadSpec semantic_head(std::uint32_t classes, std::uint32_t stride) {
  HeadSpec head;
  OutputMap map = raw_map("semantic", stride);
  map.role = OutputRole::kSemantic;
  map.encoding = OutputEncoding::kLogit;
  map.channels = classes;
  head.maps.push_back(map);
  return head;
}

HeadSpec depth_head(std::uint32_t stride) {
  HeadSpec head;
  OutputMap map = raw_map("depth", stride);
  map.role = OutputRole::kDepth;
  map.channels = 1;
  head.maps.push_back(map);
  return head;
}

HeadSpec classify_head(std::uint32_t classes) {
  return one_tensor(AnchorAxis::kInnermost, {{OutputRole::kClassScore, classes}});
}

HeadSpec decoded_head(std::uint32_t classes) {
  return one_tensor(AnchorAxis::kInnermost,
                    {{OutputRole::kBox, 4}, {OutputRole::kClassScore, classes}});
}

HeadSpec objectness_head(std::uint32_t classes) {
  return one_tensor(
      AnchorAxis::kOutermost,
      {{OutputRole::kBox, 4}, {OutputRole::kObjectness, 1}, {OutputRole::kClassScore, classes}});
}

HeadSpec query_head(std::uint32_t classes) {
  HeadSpec head;
  OutputMap box = raw_map("boxes", 0);
  box.encoding = OutputEncoding::kNormalised;
  box.channels = 4;
  head.maps.push_back(box);
  OutputMap scores = raw_map("logits", 0);
  scores.role = OutputRole::kClassScore;
  scores.encoding = OutputEncoding::kLogit;
  scores.channels = classes;
  head.maps.push_back(scores);
  head.suppression = Suppression::kNone;
  return head;
}

HeadSpec rows_head(std::uint32_t classes, std::optional<LevelMap> more) {
  HeadSpec head = one_tensor(
      AnchorAxis::kOutermost,
      {{OutputRole::kBox, 4}, {OutputRole::kClassScore, 1}, {OutputRole::kClassIndex, 1}});
  const bool turned = more && more->role == OutputRole::kAngle;
  head.maps[0].encoding = turned ? OutputEncoding::kDecoded : OutputEncoding::kCorners;
  head.maps[2].classes = classes;
  head.suppression = Suppression::kNone;
  if (!more) return head;
  OutputMap map = head.maps[2];
  map.role = more->role;
  map.encoding = more->encoding;
  map.first_channel = 6;
  map.channels = more->channels;
  map.point_values = more->point_values;
  map.classes = 0;
  head.maps.push_back(map);
  return head;
}

}  // namespace fovea
