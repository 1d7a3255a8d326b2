// What was found in one picture: the value that tables, result files and drawings are made of.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nodes/base/head_spec.hpp"

namespace fovea::predict {

// All coordinates are in pixels of the picture, x right, y down; (0, 0) is the outer corner of the
// first pixel.
struct Point {
  float x = 0;
  float y = 0;
};

// Corners.
struct Box {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
};

struct Keypoint {
  float x = 0;
  float y = 0;
  float visibility = 1;  // 0..1
};
// Below it a point counts as hidden: it is neither drawn nor counted.
inline constexpr float kVisible = 0.5f;

struct Object {
  std::uint32_t class_id = 0;
  std::string class_name;
  float score = 0;  // 0..1
  Box box;          // of a turned one the upright one around it, not clipped to the picture

  // Each is empty where the task has none.
  std::vector<Keypoint> keypoints = {};  // kPose: in the model's order
  // kObb: 4, clockwise as seen, the first two along the box's own width.
  std::vector<Point> corners = {};
  // kSegment: pixels of the whole picture, column by column, alternately out of the object and in
  // it, out of it first (COCO's uncompressed run lengths); none where there were too many.
  std::vector<std::uint32_t> mask = {};
};

struct ClassScore {
  std::uint32_t class_id = 0;
  std::string class_name;
  float score = 0;  // 0..1
};

// kSemantic: a label per pixel of a map over the whole picture, [height, width]: a class id, or
// kNoClass. The picture's pixel (x, y) is of that at (x * width / the picture's width, ...), rounded
// down.
struct LabelMap {
  static constexpr std::uint8_t kNoClass = 255;

  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::vector<std::uint8_t> labels = {};
};

// kDepth: distances in m, [height, width], the outermost on the picture's edges; NaN where there is none.
struct DepthMap {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::vector<float> values = {};
  // Of those that there are; 0 without.
  float nearest = 0;
  float median = 0;
  float farthest = 0;
};

// Of one picture, in ms.
struct StageTimes {
  double preprocess = 0;
  double inference = 0;
  double postprocess = 0;
};

struct Prediction {
  Task task = Task::kDetect;
  std::string file;                    // as it was named; FOLDER/NAME for a folder's
  std::optional<std::uint64_t> frame;  // of a video, from 0
  std::optional<double> seconds;       // of a video's frame, where its time is known
  std::uint32_t width = 0;             // of the picture, upright
  std::uint32_t height = 0;
  std::vector<Object> objects;      // best first
  // kClassify: the best five of the whole picture, best first. kSemantic: those that there are, with
  // their share of the picture's pixels as score, greatest first.
  std::vector<ClassScore> classes;
  LabelMap map;
  DepthMap depth;
  StageTimes times;
  std::string warning;  // what is wrong with the outputs of the model; empty = nothing
  std::string saved;    // path of the picture that it was drawn into; empty = nowhere
};

}  // namespace fovea::predict
