// What was found in one picture: the value that tables, result files and drawings are made of.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fovea::predict {

// Corners of a box in pixels of the picture, x right, y down; (0, 0) is the outer corner of the
// first pixel.
struct Box {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
};

struct Object {
  std::uint32_t class_id = 0;
  std::string class_name;
  float score = 0;  // 0..1
  Box box;
};

// Of one picture, in ms.
struct StageTimes {
  double preprocess = 0;
  double inference = 0;
  double postprocess = 0;
};

struct Prediction {
  std::string file;                    // as it was named; FOLDER/NAME for a folder's
  std::optional<std::uint64_t> frame;  // of a video, from 0
  std::optional<double> seconds;       // of a video's frame, where its time is known
  std::uint32_t width = 0;             // of the picture, upright
  std::uint32_t height = 0;
  std::vector<Object> objects;  // best first
  StageTimes times;
  std::string warning;  // what is wrong with the outputs of the model; empty = nothing
  std::string saved;    // path of the picture that it was drawn into; empty = nowhere
};

}  // namespace fovea::predict
