// What class every pixel of a picture is of.
#pragma once

#include "msgs/class_name.hpp"
#include "msgs/header.hpp"

namespace fovea::msgs {

struct SemanticClass {
  std::uint32_t class_id = 0;
  std::uint32_t pixels = 0;  // of the map, with those of rows that have no runs
  ClassName class_name;

  bool operator==(const SemanticClass&) const = default;
};

// So many pixels of one class side by side. A run ends with its row.
struct LabelRun {
  std::uint16_t label = 0;  // class id, or SemanticMap::kNoLabel
  std::uint16_t length = 0;

  bool operator==(const LabelRun&) const = default;
};

// One frame as a map of `width` x `height` pixels over the whole source picture: the source's pixel
// (x, y) is of the label at (x * width / source_width, y * height / source_height), rounded down. What
// a sensor_msgs/Image of mono8 would hold, as runs, row by row from the top. By value: no shared
// memory.
struct SemanticMap {
  static constexpr std::uint16_t kNoLabel =
      255;  // no class, or none that the model has numbers for
  static constexpr std::size_t kMaxClasses = 255;
  static constexpr std::size_t kMaxRuns = 1U << 17;

  Header header;
  std::uint32_t source_width = 0;
  std::uint32_t source_height = 0;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t truncated = 0;  // so many of the last rows have no runs: there was no room
  std::uint32_t reserved = 0;
  BoundedArray<SemanticClass, kMaxClasses> classes;  // that there are, most pixels first
  BoundedArray<LabelRun, kMaxRuns> runs;
};

template <>
struct Fields<SemanticClass> {
  static constexpr std::string_view kName = "SemanticClass";
  static constexpr auto kList = std::tuple(field("class_id", &SemanticClass::class_id),
                                           field("pixels", &SemanticClass::pixels, "px"),
                                           field("class_name", &SemanticClass::class_name));
};

template <>
struct Fields<LabelRun> {
  static constexpr std::string_view kName = "LabelRun";
  static constexpr auto kList =
      std::tuple(field("label", &LabelRun::label), field("length", &LabelRun::length, "px"));
};

template <>
struct Fields<SemanticMap> {
  using T = SemanticMap;
  static constexpr std::string_view kName = "SemanticMap";
  static constexpr auto kList = std::tuple(
      field("header", &T::header), field("source_width", &T::source_width, "px"),
      field("source_height", &T::source_height, "px"), field("width", &T::width, "px"),
      field("height", &T::height, "px"), field("truncated", &T::truncated, "px"),
      field("reserved", &T::reserved), field("classes", &T::classes), field("runs", &T::runs));
};

}  // namespace fovea::msgs
