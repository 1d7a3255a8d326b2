// Detections with the points that make up each object: a person's joints, the corners of a sign.
#pragma once

#include "msgs/detection.hpp"

namespace fovea::msgs {

// Pixels of the source image, as BoundingBox2D; clipped to it.
struct Keypoint2D {
  float x = 0;
  float y = 0;
  float visibility = 1;  // 0..1; 1 where the model does not say

  bool operator==(const Keypoint2D&) const = default;
};

struct KeypointDetection2D {
  static constexpr std::size_t kMaxKeypoints = 64;

  BoundingBox2D bbox;
  ObjectHypothesis hypothesis;
  ClassName class_name;
  BoundedArray<Keypoint2D, kMaxKeypoints> keypoints;  // in the model's order

  bool operator==(const KeypointDetection2D&) const = default;
};

// One frame, in the order of its Detection2DArray. By value: no shared memory.
struct KeypointDetection2DArray {
  Header header;
  std::uint32_t source_width = 0;
  std::uint32_t source_height = 0;
  BoundedArray<KeypointDetection2D, Detection2DArray::kMaxDetections> detections;
};

template <>
struct Fields<Keypoint2D> {
  static constexpr std::string_view kName = "Keypoint2D";
  static constexpr auto kList =
      std::tuple(field("x", &Keypoint2D::x, "px"), field("y", &Keypoint2D::y, "px"),
                 field("visibility", &Keypoint2D::visibility));
};

template <>
struct Fields<KeypointDetection2D> {
  static constexpr std::string_view kName = "KeypointDetection2D";
  static constexpr auto kList = std::tuple(field("bbox", &KeypointDetection2D::bbox),
                                           field("hypothesis", &KeypointDetection2D::hypothesis),
                                           field("class_name", &KeypointDetection2D::class_name),
                                           field("keypoints", &KeypointDetection2D::keypoints));
};

template <>
struct Fields<KeypointDetection2DArray> {
  using T = KeypointDetection2DArray;
  static constexpr std::string_view kName = "KeypointDetection2DArray";
  static constexpr auto kList = std::tuple(
      field("header", &T::header), field("source_width", &T::source_width, "px"),
      field("source_height", &T::source_height, "px"), field("detections", &T::detections));
};

}  // namespace fovea::msgs
