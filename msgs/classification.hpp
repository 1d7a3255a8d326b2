// What a whole picture shows.
#pragma once

#include "msgs/detection.hpp"

namespace fovea::msgs {

struct ClassScore {
  ObjectHypothesis hypothesis;
  ClassName class_name;

  bool operator==(const ClassScore&) const = default;
};

// The best classes of one frame, best first. By value: no shared memory.
struct Classification {
  static constexpr std::size_t kMaxResults = 5;

  Header header;
  std::uint32_t source_width = 0;
  std::uint32_t source_height = 0;
  BoundedArray<ClassScore, kMaxResults> results;
};

template <>
struct Fields<ClassScore> {
  static constexpr std::string_view kName = "ClassScore";
  static constexpr auto kList = std::tuple(field("hypothesis", &ClassScore::hypothesis),
                                           field("class_name", &ClassScore::class_name));
};

template <>
struct Fields<Classification> {
  static constexpr std::string_view kName = "Classification";
  static constexpr auto kList =
      std::tuple(field("header", &Classification::header),
                 field("source_width", &Classification::source_width, "px"),
                 field("source_height", &Classification::source_height, "px"),
                 field("results", &Classification::results));
};

}  // namespace fovea::msgs
