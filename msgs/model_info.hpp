// What a detector's raw outputs mean. Latched (transient local) on `<detector>/model_info`, so a
// postprocess node that starts later still gets it.
#pragma once

#include "msgs/class_name.hpp"
#include "msgs/header.hpp"

namespace fovea::msgs {

enum class HeadKind : std::uint32_t {
  // Per level i: tensors `box<i>` f32 [h, w, 4 * reg_max] (DFL logits, order left, top, right,
  // bottom) and
  // `cls<i>` f32 [h, w, classes] (logits before the sigmoid).
  kDfl,
  // `output0` f32 [4 + classes, anchors]: cx, cy, w, h in network pixels, then scores (YOLOv8,
  // v11).
  kDecoded,
  // `output0` f32 [anchors, 5 + classes]: cx, cy, w, h, objectness, scores (YOLOv5).
  kDecodedObjectness,
};

template <>
struct EnumNames<HeadKind> {
  static constexpr std::array kNames{std::string_view("dfl"), std::string_view("decoded"),
                                     std::string_view("decoded_objectness")};
};

struct ModelInfo {
  static constexpr std::size_t kMaxClasses = 1024;
  static constexpr std::size_t kMaxLevels = 8;

  Header header;
  std::uint64_t model_id = 0;  // matches TensorArray::model_id
  HeadKind head = HeadKind::kDfl;
  std::uint32_t reg_max = 0;  // bins per box side, kDfl only
  std::uint32_t network_width = 0;
  std::uint32_t network_height = 0;
  std::uint32_t level_count = 0;  // kDfl only
  std::uint32_t reserved = 0;
  std::array<std::uint32_t, kMaxLevels> strides{};  // kDfl only, input pixels per cell of level i
  BoundedArray<ClassName, kMaxClasses> class_names;  // no two are equal
};

template <>
struct Fields<ModelInfo> {
  static constexpr std::string_view kName = "ModelInfo";
  static constexpr auto kList = std::tuple(
      field("header", &ModelInfo::header), field("model_id", &ModelInfo::model_id),
      field("head", &ModelInfo::head), field("reg_max", &ModelInfo::reg_max),
      field("network_width", &ModelInfo::network_width, "px"),
      field("network_height", &ModelInfo::network_height, "px"),
      field("level_count", &ModelInfo::level_count), field("reserved", &ModelInfo::reserved),
      field("strides", &ModelInfo::strides, "px"), field("class_names", &ModelInfo::class_names));
};

}  // namespace fovea::msgs
