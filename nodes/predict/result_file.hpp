// Results as JSON: one object with a line for each picture.
//
//   {"task": "detect", "model": "m.onnx",
//    "pictures": [{"file": "a.jpg", "width": 640, "height": 480,
//                  "detections": [{"class_id": 0, "class": "person", "score": 0.93,
//                                  "box": [x1, y1, x2, y2]}], "ms": {...}}],
//    "unreadable": [{"file": "b.jpg", "error": "..."}], "engine": {...}, "ms": {...}}
//
// An object of another task has one field more: "mask": {"size": [height, width], "counts": [...]},
// "keypoints": [[x, y, visibility], ...] or "corners": [[x, y], ...]. A classified picture has
// "top5": [[class_id, score], ...] and "classes" with their names, and no "detections".
//
// Thread safety: one thread at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/base/result.hpp"
#include "nodes/predict/prediction.hpp"

namespace fovea::predict {

struct Failure {
  std::string file;
  std::string error;
};

// What stands beside the pictures.
struct Summary {
  Task task = Task::kDetect;
  std::string provider;
  std::string precision;        // as it is executed
  std::string instruction_set;  // empty where the provider does not say
  int threads = 0;
  std::size_t pictures = 0;
  std::size_t objects = 0;
  StageTimes mean = {};  // of a picture
  std::vector<Failure> failures = {};
  bool interrupted = false;
};

// One line.
std::string to_json(const Prediction& prediction);

// The object piece by piece, so that a video of any length needs no memory for it on stdout. To a
// file it goes at once at the end: nobody sees half of one.
class ResultFile {
 public:
  // `target` is a path, or "-" for stdout; empty writes nothing.
  ResultFile(std::string target, std::string_view model, Task task);

  bool on_stdout() const { return target_ == "-"; }
  // Errors: what stdout said.
  Result<> add(const Prediction& prediction);
  // Errors: what stdout said, write_file()'s.
  Result<> finish(const Summary& summary);

 private:
  Result<> write(std::string_view text);

  std::string target_;
  std::string text_;  // not for stdout
  bool is_empty_ = true;
};

}  // namespace fovea::predict
