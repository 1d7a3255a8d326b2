// Detections that keep an identity from frame to frame.
#pragma once

#include "msgs/detection.hpp"

namespace fovea::msgs {

struct Track2D {
  std::uint64_t id = 0;  // from 1 for each camera; never given to another object
  BoundingBox2D bbox;    // of the detection in this frame
  ObjectHypothesis hypothesis;
  ClassName class_name;
  std::uint32_t age = 0;   // frames since it was first seen; 0 in that one
  std::uint32_t hits = 0;  // frames that it was seen in

  bool operator==(const Track2D&) const = default;
};

// Tracks that were seen in one frame, in the order of its detections. By value: no shared memory.
struct Track2DArray {
  Header header;
  std::uint32_t source_width = 0;
  std::uint32_t source_height = 0;
  BoundedArray<Track2D, Detection2DArray::kMaxDetections> tracks;
};

template <>
struct Fields<Track2D> {
  static constexpr std::string_view kName = "Track2D";
  static constexpr auto kList = std::tuple(
      field("id", &Track2D::id), field("bbox", &Track2D::bbox),
      field("hypothesis", &Track2D::hypothesis), field("class_name", &Track2D::class_name),
      field("age", &Track2D::age, "frames"), field("hits", &Track2D::hits, "frames"));
};

template <>
struct Fields<Track2DArray> {
  static constexpr std::string_view kName = "Track2DArray";
  static constexpr auto kList =
      std::tuple(field("header", &Track2DArray::header),
                 field("source_width", &Track2DArray::source_width, "px"),
                 field("source_height", &Track2DArray::source_height, "px"),
                 field("tracks", &Track2DArray::tracks));
};

}  // namespace fovea::msgs
