// Detections with the pixels that belong to each object.
#pragma once

#include "msgs/detection.hpp"

namespace fovea::msgs {

// The mask is `run_count` run lengths from InstanceMask2DArray::runs[first_run] on: pixels of the
// whole source image, column by column, alternately out of the object and in it, out of it first (as
// COCO's uncompressed RLE). Their sum is the number of pixels. 0 runs: see `truncated`.
struct InstanceMask2D {
  BoundingBox2D bbox;
  ObjectHypothesis hypothesis;
  ClassName class_name;
  std::uint32_t first_run = 0;
  std::uint32_t run_count = 0;

  bool operator==(const InstanceMask2D&) const = default;
};

// One frame, in the order of its Detection2DArray. By value: no shared memory.
struct InstanceMask2DArray {
  static constexpr std::size_t kMaxRuns = 1U << 17;

  Header header;
  std::uint32_t source_width = 0;
  std::uint32_t source_height = 0;
  std::uint32_t truncated = 0;  // so many of the last instances have no runs: there was no room
  std::uint32_t reserved = 0;
  BoundedArray<InstanceMask2D, Detection2DArray::kMaxDetections> instances;
  BoundedArray<std::uint32_t, kMaxRuns> runs;
};

template <>
struct Fields<InstanceMask2D> {
  static constexpr std::string_view kName = "InstanceMask2D";
  static constexpr auto kList = std::tuple(field("bbox", &InstanceMask2D::bbox),
                                           field("hypothesis", &InstanceMask2D::hypothesis),
                                           field("class_name", &InstanceMask2D::class_name),
                                           field("first_run", &InstanceMask2D::first_run),
                                           field("run_count", &InstanceMask2D::run_count));
};

template <>
struct Fields<InstanceMask2DArray> {
  using T = InstanceMask2DArray;
  static constexpr std::string_view kName = "InstanceMask2DArray";
  static constexpr auto kList =
      std::tuple(field("header", &T::header), field("source_width", &T::source_width, "px"),
                 field("source_height", &T::source_height, "px"), field("truncated", &T::truncated),
                 field("reserved", &T::reserved), field("instances", &T::instances),
                 field("runs", &T::runs, "px"));
};

}  // namespace fovea::msgs
