#include "nodes/postprocess/anchor_details.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "msgs/keypoints.hpp"
#include "msgs/model_info.hpp"
#include "nodes/postprocess/checks.hpp"

namespace fovea {

namespace {

constexpr std::array kRoles = {OutputRole::kAngle, OutputRole::kKeypoints,
                               OutputRole::kMaskCoefficients};

float sigmoid(float logit) { return 1.0f / (1.0f + std::exp(-logit)); }

tl::unexpected<Error> unsupported(std::string why) {
  return fail(ErrorCode::kUnsupported, std::move(why));
}

bool is_detail(const OutputMap& map) {
  return std::find(kRoles.begin(), kRoles.end(), map.role) != kRoles.end();
}

// Errors: numbers that mean something else for this role.
Result<> check_encoding(const OutputMap& map) {
  const bool of_rows = map.stride == 0;
  bool known = false;
  switch (map.role) {
    case OutputRole::kAngle:
      FOVEA_TRY(check_range("angle channels", map.channels, 1, 1));
      known = map.encoding == OutputEncoding::kDecoded ||
              (!of_rows && map.encoding == OutputEncoding::kLogit);
      break;
    case OutputRole::kKeypoints:
      FOVEA_TRY(check_range("keypoints", map.channels / map.point_values, 1,
                            msgs::KeypointDetection2D::kMaxKeypoints));
      known = of_rows ? map.encoding == OutputEncoding::kDecoded
                      : map.encoding == OutputEncoding::kCentreOffset ||
                            map.encoding == OutputEncoding::kTwiceOffset;
      break;
    default:
      known = map.encoding == OutputEncoding::kDecoded;
  }
  FOVEA_TRY(check_range("channels of details", map.channels, 1, AnchorDetails::kMaxChannels));
  if (known && map.anchors == AnchorAxis::kOutermost && (of_rows || map.first_channel == 0)) {
    return {};
  }
  return unsupported(fmt::format("{} is {} with anchors {} from channel {} on",
                                 msgs::enum_name(map.role), msgs::enum_name(map.encoding),
                                 msgs::enum_name(map.anchors), map.first_channel));
}

}  // namespace

Result<AnchorDetails> AnchorDetails::create(const HeadSpec& head, std::span<const Grid> grids,
                                            std::uint32_t network_width,
                                            std::uint32_t network_height) {
  AnchorDetails details;
  const OutputMap* first = nullptr;
  for (const OutputMap& map : head.maps) {
    if (!is_detail(map)) continue;
    FOVEA_TRY(check_encoding(map));
    if (first == nullptr) first = &map;
    if (map.role != first->role || map.encoding != first->encoding ||
        map.channels != first->channels || map.point_values != first->point_values) {
      return unsupported(fmt::format("the maps of {} and {} differ", msgs::enum_name(first->role),
                                     msgs::enum_name(map.role)));
    }
    const auto grid = std::find_if(grids.begin(), grids.end(),
                                   [&](const Grid& g) { return g.stride == map.stride; });
    const bool twice =
        std::any_of(details.maps_.begin(), details.maps_.end(),
                    [&](const Map& other) { return other.grid.stride == map.stride; });
    if (grid == grids.end() || twice) {
      return unsupported(fmt::format("stride {} has {} maps of {}", map.stride,
                                     twice ? "several" : "no boxes beside its",
                                     msgs::enum_name(map.role)));
    }
    details.maps_.push_back({std::string(map.tensor.view()), *grid});
  }
  if (first != nullptr) {
    if (details.maps_.size() != grids.size()) {
      return unsupported(fmt::format("{} of {} strides have a map of {}", details.maps_.size(),
                                     grids.size(), msgs::enum_name(first->role)));
    }
    std::sort(details.maps_.begin(), details.maps_.end(),
              [](const Map& a, const Map& b) { return a.grid.first_anchor < b.grid.first_anchor; });
    details.read_kind(*first);
  }
  FOVEA_TRY(details.read_prototypes(head, network_width, network_height));
  return details;
}

Result<AnchorDetails> AnchorDetails::create_for_rows(const HeadSpec& head,
                                                     std::uint32_t network_width,
                                                     std::uint32_t network_height) {
  AnchorDetails details;
  for (const OutputMap& map : head.maps) {
    if (!is_detail(map)) continue;
    FOVEA_TRY(check_encoding(map));
    FOVEA_TRY(
        check_range(fmt::format("stride of {}", msgs::enum_name(map.role)), map.stride, 0, 0));
    if (!details.empty()) {
      return unsupported(fmt::format("rows have {} and {}; they must have one of them",
                                     msgs::enum_name(details.role_), msgs::enum_name(map.role)));
    }
    details.maps_.push_back({std::string(map.tensor.view()), {}});
    details.read_kind(map);
  }
  FOVEA_TRY(details.read_prototypes(head, network_width, network_height));
  return details;
}

void AnchorDetails::read_kind(const OutputMap& map) {
  role_ = map.role;
  encoding_ = map.encoding;
  channels_ = map.channels;
  point_values_ = map.point_values;
  first_channel_ = map.first_channel;
  step_ = map.channels;
}

Result<> AnchorDetails::read_prototypes(const HeadSpec& head, std::uint32_t network_width,
                                        std::uint32_t network_height) {
  const auto count = std::count_if(head.maps.begin(), head.maps.end(), [](const OutputMap& map) {
    return map.role == OutputRole::kPrototype;
  });
  const bool wants = !empty() && role_ == OutputRole::kMaskCoefficients;
  if (count != (wants ? 1 : 0)) {
    return unsupported(
        fmt::format("the head has {} maps of prototypes; it must have {}", count, wants ? 1 : 0));
  }
  if (!wants) return {};
  const OutputMap& map = *head.find(OutputRole::kPrototype);
  if (map.encoding != OutputEncoding::kDecoded || map.anchors != AnchorAxis::kOutermost ||
      map.first_channel != 0 || map.channels != channels_) {
    return unsupported(fmt::format(
        "prototypes are {} channels of {} with anchors {} from channel {} on; they must "
        "be decoded, outermost and as many as the {} coefficients",
        map.channels, msgs::enum_name(map.encoding), msgs::enum_name(map.anchors),
        map.first_channel, channels_));
  }
  const std::uint32_t stride = map.stride;
  if (stride == 0 || network_width % stride != 0 || network_height % stride != 0) {
    return unsupported(
        fmt::format("prototypes have stride {}, which does not divide the input of "
                    "{}x{}",
                    stride, network_width, network_height));
  }
  prototypes_ = {.width = network_width / stride,
                 .height = network_height / stride,
                 .channels = channels_,
                 .stride = stride};
  prototype_tensor_ = map.tensor.view();
  return {};
}

std::size_t AnchorDetails::tensor_count() const {
  const bool of_rows = !empty() && maps_.front().grid.stride == 0;
  return (of_rows ? 0 : maps_.size()) + (prototype_tensor_.empty() ? 0 : 1);
}

Result<> AnchorDetails::bind(std::span<const HeadTensor> tensors) {
  for (Map& map : maps_) {
    const std::array<std::int64_t, 3> dims{map.grid.height, map.grid.width, channels_};
    FOVEA_ASSIGN(map.values, find_values(tensors, map.tensor, dims));
  }
  return bind_prototypes(tensors);
}

Result<> AnchorDetails::bind_rows(const float* rows, std::size_t channels,
                                  std::span<const HeadTensor> tensors) {
  for (Map& map : maps_) map.values = rows + first_channel_;
  step_ = channels;
  return bind_prototypes(tensors);
}

Result<> AnchorDetails::bind_prototypes(std::span<const HeadTensor> tensors) {
  if (prototype_tensor_.empty()) return {};
  const std::array<std::int64_t, 3> dims{prototypes_.height, prototypes_.width, channels_};
  FOVEA_ASSIGN(prototypes_.values, find_values(tensors, prototype_tensor_, dims));
  return {};
}

const AnchorDetails::Map& AnchorDetails::map_of(std::uint32_t anchor) const {
  std::size_t i = maps_.size() - 1;
  while (maps_[i].grid.first_anchor > anchor) --i;
  return maps_[i];
}

const float* AnchorDetails::values_of(std::uint32_t anchor) const {
  const Map& map = map_of(anchor);
  return map.values + std::size_t{anchor - map.grid.first_anchor} * step_;
}

bool AnchorDetails::is_finite(std::uint32_t anchor) const {
  const float* values = values_of(anchor);
  return std::all_of(values, values + channels_, [](float value) { return std::isfinite(value); });
}

float AnchorDetails::angle_of(std::uint32_t anchor) const {
  const float value = *values_of(anchor);
  if (encoding_ == OutputEncoding::kDecoded) return value;
  return (sigmoid(value) - 0.25f) * std::numbers::pi_v<float>;
}

void AnchorDetails::points_of(std::uint32_t anchor, std::span<NetworkPoint> points) const {
  const float* value = values_of(anchor);
  if (encoding_ == OutputEncoding::kDecoded) {
    for (std::size_t i = 0; i < point_count(); ++i, value += point_values_) {
      points[i] = {value[0], value[1],
                   point_values_ == 3 ? std::clamp(value[2], 0.0f, 1.0f) : 1.0f};
    }
    return;
  }
  const Map& map = map_of(anchor);
  const std::uint32_t cell = anchor - map.grid.first_anchor;
  const auto column = static_cast<float>(cell % map.grid.width);
  const auto row = static_cast<float>(cell / map.grid.width);
  const auto stride = static_cast<float>(map.grid.stride);
  const bool twice = encoding_ == OutputEncoding::kTwiceOffset;
  const float factor = twice ? 2.0f : 1.0f;
  const float shift = twice ? 0.0f : 0.5f;
  for (std::size_t i = 0; i < point_count(); ++i, value += point_values_) {
    points[i] = {(factor * value[0] + column + shift) * stride,
                 (factor * value[1] + row + shift) * stride,
                 point_values_ == 3 ? sigmoid(value[2]) : 1.0f};
  }
}

}  // namespace fovea
