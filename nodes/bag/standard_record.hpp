// What was found in a picture as ROS 2's and Foxglove's own messages, so that tools that do not know Fovea's
// show it: a recording may hold them beside ours.
//
//   Detection2DArray, OrientedDetection2DArray   vision_msgs/msg/Detection2DArray
//   Classification                               vision_msgs/msg/Classification
//   KeypointDetection2DArray                     foxglove_msgs/msg/ImageAnnotations
//
// A class is called by its name (`class_id`, a string there); boxes are in pixels, centre and size, `theta`
// in radians from x to y; scores 0..1; the pose of a hypothesis is zero.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "msgs/classification.hpp"
#include "msgs/detection.hpp"
#include "msgs/keypoints.hpp"
#include "msgs/oriented_box.hpp"

namespace fovea::bag {

struct StandardType {
  std::string_view suffix;       // of the topic beside ours: "/vision_msgs"
  std::string_view schema_name;  // "vision_msgs/msg/Detection2DArray"
  std::string_view schema;       // its `ros2msg` text
};

const StandardType& standard_type(const msgs::Detection2DArray&);
const StandardType& standard_type(const msgs::OrientedDetection2DArray&);
const StandardType& standard_type(const msgs::Classification&);
const StandardType& standard_type(const msgs::KeypointDetection2DArray&);

// CDR of the message of standard_type(). Replaces the contents of `out`.
void to_standard_cdr(const msgs::Detection2DArray& message, std::vector<std::byte>& out);
void to_standard_cdr(const msgs::OrientedDetection2DArray& message, std::vector<std::byte>& out);
void to_standard_cdr(const msgs::Classification& message, std::vector<std::byte>& out);
// Of each object its box as a closed line, its name and score above it, and the points that are seen
// (visibility of 0.5 and more).
void to_standard_cdr(const msgs::KeypointDetection2DArray& message, std::vector<std::byte>& out);

template <class M>
concept HasStandardType = requires(const M& message) {
  standard_type(message);
};

}  // namespace fovea::bag
