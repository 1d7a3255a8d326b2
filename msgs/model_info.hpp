// What a detector's raw outputs mean. Latched (transient local) on `<detector>/model_info`, so a
// postprocess node that starts later still gets it.
#pragma once

#include "msgs/class_name.hpp"
#include "msgs/header.hpp"
#include "nodes/base/head_spec.hpp"
#include "nodes/base/input_spec.hpp"

namespace fovea::msgs {

template <>
struct EnumNames<OutputRole> {
  static constexpr auto kNames = kOutputRoleNames;
};

template <>
struct EnumNames<OutputEncoding> {
  static constexpr auto kNames = kOutputEncodingNames;
};

template <>
struct EnumNames<AnchorAxis> {
  static constexpr auto kNames = kAnchorAxisNames;
};

template <>
struct EnumNames<ColourOrder> {
  static constexpr auto kNames = kColourOrderNames;
};

template <>
struct EnumNames<ValueRange> {
  static constexpr auto kNames = kValueRangeNames;
};

template <>
struct EnumNames<ResizeMode> {
  static constexpr auto kNames = kResizeModeNames;
};

template <>
struct EnumNames<Suppression> {
  static constexpr auto kNames = kSuppressionNames;
};

template <>
struct Fields<OutputMap> {
  static constexpr std::string_view kName = "OutputMap";
  static constexpr auto kList = std::tuple(
      field("tensor", &OutputMap::tensor), field("role", &OutputMap::role),
      field("encoding", &OutputMap::encoding), field("anchors", &OutputMap::anchors),
      field("stride", &OutputMap::stride, "px"), field("first_channel", &OutputMap::first_channel),
      field("channels", &OutputMap::channels), field("bins", &OutputMap::bins),
      field("point_values", &OutputMap::point_values), field("classes", &OutputMap::classes));
};

template <>
struct Fields<HeadSpec> {
  static constexpr std::string_view kName = "HeadSpec";
  static constexpr auto kList =
      std::tuple(field("maps", &HeadSpec::maps), field("suppression", &HeadSpec::suppression));
};

template <>
struct Fields<InputSpec> {
  static constexpr std::string_view kName = "InputSpec";
  static constexpr auto kList =
      std::tuple(field("colour", &InputSpec::colour), field("range", &InputSpec::range),
                 field("resize", &InputSpec::resize), field("border", &InputSpec::border),
                 field("mean", &InputSpec::mean), field("deviation", &InputSpec::deviation));
};

struct ModelInfo {
  static constexpr std::size_t kMaxClasses = 1024;

  Header header;
  std::uint64_t model_id = 0;  // matches TensorArray::model_id
  std::uint32_t network_width = 0;
  std::uint32_t network_height = 0;
  HeadSpec head;  // from a peer: see problem_of()
  InputSpec input;  // from a peer: see problem_of(). The network has its numbers inside
  BoundedArray<ClassName, kMaxClasses> class_names;  // by class score, no two are equal
};

template <>
struct Fields<ModelInfo> {
  static constexpr std::string_view kName = "ModelInfo";
  static constexpr auto kList = std::tuple(
      field("header", &ModelInfo::header), field("model_id", &ModelInfo::model_id),
      field("network_width", &ModelInfo::network_width, "px"),
      field("network_height", &ModelInfo::network_height, "px"), field("head", &ModelInfo::head),
      field("input", &ModelInfo::input), field("class_names", &ModelInfo::class_names));
};

}  // namespace fovea::msgs
