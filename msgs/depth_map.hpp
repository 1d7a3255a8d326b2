// How far away every pixel of a picture is.
#pragma once

#include "msgs/header.hpp"

namespace fovea::msgs {

// One frame as a map of `width` x `height` values over the whole source picture, row by row from the
// top, as the network gives them: the first and the last value of a row lie on the picture's left and
// right edge, those of a column on its upper and lower edge, and what lies between is interpolated
// linearly. What a sensor_msgs/Image of 32FC1 would hold. By value: no shared memory.
struct DepthMap {
  static constexpr std::size_t kMaxValues = 1U << 17;

  Header header;
  std::uint32_t source_width = 0;
  std::uint32_t source_height = 0;
  std::uint32_t height = 0;
  std::uint32_t width = 0;
  BoundedArray<float, kMaxValues> depth;  // NaN where the model gives no number
};

template <>
struct Fields<DepthMap> {
  using T = DepthMap;
  static constexpr std::string_view kName = "DepthMap";
  static constexpr auto kList =
      std::tuple(field("header", &T::header), field("source_width", &T::source_width, "px"),
                 field("source_height", &T::source_height, "px"), field("height", &T::height),
                 field("width", &T::width), field("depth", &T::depth, "m"));
};

}  // namespace fovea::msgs
