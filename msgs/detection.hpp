// What the pipeline is for. Names follow vision_msgs.
#pragma once

#include "msgs/class_name.hpp"
#include "msgs/header.hpp"

namespace fovea::msgs {

// Centre and size in pixels of the source image; continuous coordinates, (0, 0) is the outer corner
// of the first pixel.
struct BoundingBox2D {
  float center_x = 0;
  float center_y = 0;
  float size_x = 0;
  float size_y = 0;

  bool operator==(const BoundingBox2D&) const = default;
};

struct ObjectHypothesis {
  std::uint32_t class_id = 0;
  float score = 0;  // 0..1

  bool operator==(const ObjectHypothesis&) const = default;
};

struct Detection2D {
  BoundingBox2D bbox;
  ObjectHypothesis hypothesis;
  ClassName class_name;

  bool operator==(const Detection2D&) const = default;
};

// Detections of one frame, highest score first. By value: no shared memory.
struct Detection2DArray {
  static constexpr std::size_t kMaxDetections = 300;

  Header header;
  std::uint32_t source_width = 0;
  std::uint32_t source_height = 0;
  BoundedArray<Detection2D, kMaxDetections> detections;
};

template <>
struct Fields<BoundingBox2D> {
  static constexpr std::string_view kName = "BoundingBox2D";
  static constexpr auto kList = std::tuple(field("center_x", &BoundingBox2D::center_x, "px"),
                                           field("center_y", &BoundingBox2D::center_y, "px"),
                                           field("size_x", &BoundingBox2D::size_x, "px"),
                                           field("size_y", &BoundingBox2D::size_y, "px"));
};

template <>
struct Fields<ObjectHypothesis> {
  static constexpr std::string_view kName = "ObjectHypothesis";
  static constexpr auto kList = std::tuple(field("class_id", &ObjectHypothesis::class_id),
                                           field("score", &ObjectHypothesis::score));
};

template <>
struct Fields<Detection2D> {
  static constexpr std::string_view kName = "Detection2D";
  static constexpr auto kList =
      std::tuple(field("bbox", &Detection2D::bbox), field("hypothesis", &Detection2D::hypothesis),
                 field("class_name", &Detection2D::class_name));
};

template <>
struct Fields<Detection2DArray> {
  static constexpr std::string_view kName = "Detection2DArray";
  static constexpr auto kList =
      std::tuple(field("header", &Detection2DArray::header),
                 field("source_width", &Detection2DArray::source_width, "px"),
                 field("source_height", &Detection2DArray::source_height, "px"),
                 field("detections", &Detection2DArray::detections));
};

}  // namespace fovea::msgs
