// Detections whose boxes are turned, as of ships seen from above.
#pragma once

#include "msgs/detection.hpp"

namespace fovea::msgs {

// Pixels of the source image; not clipped to it.
struct OrientedBox2D {
  float center_x = 0;
  float center_y = 0;
  float size_x = 0;  // along the box's own axis
  float size_y = 0;
  float theta = 0;  // from the image's x axis to the box's, towards y: clockwise as seen

  bool operator==(const OrientedBox2D&) const = default;
};

struct OrientedDetection2D {
  OrientedBox2D bbox;
  ObjectHypothesis hypothesis;
  ClassName class_name;

  bool operator==(const OrientedDetection2D&) const = default;
};

// One frame, in the order of its Detection2DArray, whose boxes are the upright ones around these. By
// value: no shared memory.
struct OrientedDetection2DArray {
  Header header;
  std::uint32_t source_width = 0;
  std::uint32_t source_height = 0;
  BoundedArray<OrientedDetection2D, Detection2DArray::kMaxDetections> detections;
};

template <>
struct Fields<OrientedBox2D> {
  static constexpr std::string_view kName = "OrientedBox2D";
  static constexpr auto kList = std::tuple(field("center_x", &OrientedBox2D::center_x, "px"),
                                           field("center_y", &OrientedBox2D::center_y, "px"),
                                           field("size_x", &OrientedBox2D::size_x, "px"),
                                           field("size_y", &OrientedBox2D::size_y, "px"),
                                           field("theta", &OrientedBox2D::theta, "rad"));
};

template <>
struct Fields<OrientedDetection2D> {
  static constexpr std::string_view kName = "OrientedDetection2D";
  static constexpr auto kList = std::tuple(field("bbox", &OrientedDetection2D::bbox),
                                           field("hypothesis", &OrientedDetection2D::hypothesis),
                                           field("class_name", &OrientedDetection2D::class_name));
};

template <>
struct Fields<OrientedDetection2DArray> {
  using T = OrientedDetection2DArray;
  static constexpr std::string_view kName = "OrientedDetection2DArray";
  static constexpr auto kList = std::tuple(
      field("header", &T::header), field("source_width", &T::source_width, "px"),
      field("source_height", &T::source_height, "px"), field("detections", &T::detections));
};

}  // namespace fovea::msgs
