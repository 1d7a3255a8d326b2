// Layouts: vision_msgs 4 and Foxglove's schemas for ROS 2, field by field in their order.
#include "nodes/bag/standard_record.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

#include <fmt/core.h>

#include "msgs/cdr.hpp"

namespace fovea::bag {

namespace {

#define FOVEA_SCHEMA(name)                                                                       \
  "================================================================================\nMSG: " name \
  "\n"
#define FOVEA_TIME_SCHEMA FOVEA_SCHEMA("builtin_interfaces/Time") "int32 sec\nuint32 nanosec\n"
#define FOVEA_HEADER_SCHEMA         \
  FOVEA_SCHEMA("std_msgs/Header")   \
  "builtin_interfaces/Time stamp\n" \
  "string frame_id\n" FOVEA_TIME_SCHEMA
#define FOVEA_HYPOTHESIS_SCHEMA                \
  FOVEA_SCHEMA("vision_msgs/ObjectHypothesis") \
  "string class_id\n"                          \
  "float64 score\n"

constexpr StandardType kDetections = {
    "/vision_msgs", "vision_msgs/msg/Detection2DArray",
    "std_msgs/Header header\n"
    "vision_msgs/Detection2D[] detections\n"
    FOVEA_SCHEMA("vision_msgs/Detection2D")
    "std_msgs/Header header\n"
    "vision_msgs/ObjectHypothesisWithPose[] results\n"
    "vision_msgs/BoundingBox2D bbox\n"
    "string id\n"
    FOVEA_SCHEMA("vision_msgs/ObjectHypothesisWithPose")
    "vision_msgs/ObjectHypothesis hypothesis\n"
    "geometry_msgs/PoseWithCovariance pose\n"
    FOVEA_HYPOTHESIS_SCHEMA
    FOVEA_SCHEMA("vision_msgs/BoundingBox2D")
    "vision_msgs/Pose2D center\n"
    "float64 size_x\n"
    "float64 size_y\n"
    FOVEA_SCHEMA("vision_msgs/Pose2D")
    "vision_msgs/Point2D position\n"
    "float64 theta\n"
    FOVEA_SCHEMA("vision_msgs/Point2D")
    "float64 x\n"
    "float64 y\n"
    FOVEA_SCHEMA("geometry_msgs/PoseWithCovariance")
    "geometry_msgs/Pose pose\n"
    "float64[36] covariance\n"
    FOVEA_SCHEMA("geometry_msgs/Pose")
    "geometry_msgs/Point position\n"
    "geometry_msgs/Quaternion orientation\n"
    FOVEA_SCHEMA("geometry_msgs/Point")
    "float64 x\n"
    "float64 y\n"
    "float64 z\n"
    FOVEA_SCHEMA("geometry_msgs/Quaternion")
    "float64 x 0\n"
    "float64 y 0\n"
    "float64 z 0\n"
    "float64 w 1\n" FOVEA_HEADER_SCHEMA};

constexpr StandardType kClassification = {
    "/vision_msgs", "vision_msgs/msg/Classification",
    "std_msgs/Header header\n"
    "vision_msgs/ObjectHypothesis[] results\n" FOVEA_HYPOTHESIS_SCHEMA FOVEA_HEADER_SCHEMA};

constexpr StandardType kAnnotations = {
    "/foxglove", "foxglove_msgs/msg/ImageAnnotations",
    "foxglove_msgs/CircleAnnotation[] circles\n"
    "foxglove_msgs/PointsAnnotation[] points\n"
    "foxglove_msgs/TextAnnotation[] texts\n"
    FOVEA_SCHEMA("foxglove_msgs/CircleAnnotation")
    "builtin_interfaces/Time timestamp\n"
    "foxglove_msgs/Point2 position\n"
    "float64 diameter\n"
    "float64 thickness\n"
    "foxglove_msgs/Color fill_color\n"
    "foxglove_msgs/Color outline_color\n"
    FOVEA_SCHEMA("foxglove_msgs/PointsAnnotation")
    "builtin_interfaces/Time timestamp\n"
    "uint8 UNKNOWN=0\n"
    "uint8 POINTS=1\n"
    "uint8 LINE_LOOP=2\n"
    "uint8 LINE_STRIP=3\n"
    "uint8 LINE_LIST=4\n"
    "uint8 type\n"
    "foxglove_msgs/Point2[] points\n"
    "foxglove_msgs/Color outline_color\n"
    "foxglove_msgs/Color[] outline_colors\n"
    "foxglove_msgs/Color fill_color\n"
    "float64 thickness\n"
    FOVEA_SCHEMA("foxglove_msgs/TextAnnotation")
    "builtin_interfaces/Time timestamp\n"
    "foxglove_msgs/Point2 position\n"
    "string text\n"
    "float64 font_size\n"
    "foxglove_msgs/Color text_color\n"
    "foxglove_msgs/Color background_color\n"
    FOVEA_SCHEMA("foxglove_msgs/Point2")
    "float64 x\n"
    "float64 y\n"
    FOVEA_SCHEMA("foxglove_msgs/Color")
    "float64 r\n"
    "float64 g\n"
    "float64 b\n"
    "float64 a\n" FOVEA_TIME_SCHEMA};

#undef FOVEA_HYPOTHESIS_SCHEMA
#undef FOVEA_HEADER_SCHEMA
#undef FOVEA_TIME_SCHEMA
#undef FOVEA_SCHEMA

constexpr std::uint8_t kPoints = 1;
constexpr std::uint8_t kLineLoop = 2;
constexpr float kSeen = 0.5F;  // visibility
constexpr double kThickness = 2;
constexpr double kPointSize = 6;
constexpr double kFontSize = 12;
using Colour = std::array<double, 4>;  // red, green, blue, alpha, 0..1
constexpr Colour kNone = {0, 0, 0, 0};
constexpr Colour kBlack = {0, 0, 0, 1};
constexpr Colour kLine = {0.2, 0.8, 0.2, 1};
constexpr Colour kPoint = {1, 0.6, 0, 1};

class Writer {
 public:
  explicit Writer(std::vector<std::byte>& out) : cdr_(out) {}

  // builtin_interfaces/Time ends in 2038; instants beyond become its last.
  void time(const msgs::Header& header) {
    constexpr std::int64_t kSecond = 1'000'000'000;
    const std::int64_t stamp =
        std::clamp(header.stamp_realtime, std::int64_t{0},
                   std::int64_t{std::numeric_limits<std::int32_t>::max()} * kSecond);
    cdr_.put(static_cast<std::int32_t>(stamp / kSecond));
    cdr_.put(static_cast<std::uint32_t>(stamp % kSecond));
  }
  void header(const msgs::Header& header) {
    time(header);
    cdr_.put(header.frame_id);
  }
  void count(std::size_t items) { cdr_.put(static_cast<std::uint32_t>(items)); }
  void type(std::uint8_t type) { cdr_.put(type); }
  void text(const msgs::ClassName& text) { cdr_.put(text); }
  void number(double value) { cdr_.put(value); }
  void numbers(std::initializer_list<double> values) {
    for (const double value : values) number(value);
  }
  void colour(const Colour& colour) {
    for (const double part : colour) number(part);
  }

  void hypothesis(const msgs::ObjectHypothesis& hypothesis, const msgs::ClassName& name) {
    text(name);
    number(hypothesis.score);
  }
  void detection(const msgs::Header& of, const msgs::ObjectHypothesis& what,
                 const msgs::ClassName& name, std::array<double, 5> box) {
    header(of);
    count(1);
    hypothesis(what, name);
    numbers({0, 0, 0, 0, 0, 0, 1});  // position and orientation
    for (int i = 0; i < 36; ++i) number(0);
    const auto [x, y, width, height, theta] = box;
    numbers({x, y, theta, width, height});
    text(std::string_view(""));
  }

 private:
  msgs::CdrWriter cdr_;
};

void put_points(Writer& writer, const msgs::Header& header, std::uint8_t type,
                std::span<const msgs::Keypoint2D> points, const Colour& colour, double thickness) {
  writer.time(header);
  writer.type(type);
  writer.count(points.size());
  for (const msgs::Keypoint2D& point : points) writer.numbers({point.x, point.y});
  writer.colour(colour);
  writer.count(0);  // colours of single points
  writer.colour(kNone);
  writer.number(thickness);
}

}  // namespace

const StandardType& standard_type(const msgs::Detection2DArray&) { return kDetections; }
const StandardType& standard_type(const msgs::OrientedDetection2DArray&) { return kDetections; }
const StandardType& standard_type(const msgs::Classification&) { return kClassification; }
const StandardType& standard_type(const msgs::KeypointDetection2DArray&) { return kAnnotations; }

void to_standard_cdr(const msgs::Detection2DArray& message, std::vector<std::byte>& out) {
  Writer writer(out);
  writer.header(message.header);
  writer.count(message.detections.size());
  for (const msgs::Detection2D& one : message.detections) {
    writer.detection(message.header, one.hypothesis, one.class_name,
                     {one.bbox.center_x, one.bbox.center_y, one.bbox.size_x, one.bbox.size_y, 0});
  }
}

void to_standard_cdr(const msgs::OrientedDetection2DArray& message, std::vector<std::byte>& out) {
  Writer writer(out);
  writer.header(message.header);
  writer.count(message.detections.size());
  for (const msgs::OrientedDetection2D& one : message.detections) {
    writer.detection(
        message.header, one.hypothesis, one.class_name,
        {one.bbox.center_x, one.bbox.center_y, one.bbox.size_x, one.bbox.size_y, one.bbox.theta});
  }
}

void to_standard_cdr(const msgs::Classification& message, std::vector<std::byte>& out) {
  Writer writer(out);
  writer.header(message.header);
  writer.count(message.results.size());
  for (const msgs::ClassScore& one : message.results) {
    writer.hypothesis(one.hypothesis, one.class_name);
  }
}

void to_standard_cdr(const msgs::KeypointDetection2DArray& message, std::vector<std::byte>& out) {
  Writer writer(out);
  writer.count(0);  // circles
  writer.count(2 * message.detections.size());
  for (const msgs::KeypointDetection2D& one : message.detections) {
    const float left = one.bbox.center_x - one.bbox.size_x / 2;
    const float top = one.bbox.center_y - one.bbox.size_y / 2;
    const float right = left + one.bbox.size_x;
    const float bottom = top + one.bbox.size_y;
    const std::array<msgs::Keypoint2D, 4> corners = {
        {{left, top}, {right, top}, {right, bottom}, {left, bottom}}};
    put_points(writer, message.header, kLineLoop, corners, kLine, kThickness);
    std::array<msgs::Keypoint2D, msgs::KeypointDetection2D::kMaxKeypoints> seen;
    std::size_t count = 0;
    for (const msgs::Keypoint2D& point : one.keypoints) {
      if (point.visibility >= kSeen) seen[count++] = point;
    }
    put_points(writer, message.header, kPoints, std::span(seen).first(count), kPoint, kPointSize);
  }
  writer.count(message.detections.size());
  for (const msgs::KeypointDetection2D& one : message.detections) {
    writer.time(message.header);
    writer.numbers(
        {one.bbox.center_x - one.bbox.size_x / 2, one.bbox.center_y - one.bbox.size_y / 2});
    writer.text(
        std::string_view(fmt::format("{} {:.2f}", one.class_name.view(), one.hypothesis.score)));
    writer.number(kFontSize);
    writer.colour(kLine);
    writer.colour(kBlack);
  }
}

}  // namespace fovea::bag
