// The detectors that people bring, as graphs: node for node what Ultralytics' exporter writes for
// YOLOv8, YOLO11 and YOLOv5 in sizes n, s and m, with random weights, so that tests need no model
// files.
#pragma once

#include <array>
#include <cstdint>

#include "nodes/base/head_spec.hpp"
#include "tests/engine/onnx_writer.hpp"

namespace fovea::engine::test {

enum class YoloModel { kV8n, kV8s, kV8m, kV11n, kV11s, kV11m, kV5n, kV5s, kV5m };

inline constexpr std::array kYoloModels = {YoloModel::kV8n,  YoloModel::kV8s,  YoloModel::kV8m,
                                           YoloModel::kV11n, YoloModel::kV11s, YoloModel::kV11m,
                                           YoloModel::kV5n,  YoloModel::kV5s,  YoloModel::kV5m};

enum class YoloFamily { kV8, kV11, kV5 };
YoloFamily family_of(YoloModel model);

// "yolov8n", "yolo11n", ...
const char* to_string(YoloModel model);

struct YoloOptions {
  std::int64_t height = 640;  // multiples of 32
  std::int64_t width = 640;
  // -1 = open: reshapes then take their extents from Shape and Gather, as in exports with
  // dynamic=True. The size stays in metadata "imgsz".
  std::int64_t batch = 1;
  // An operator that no fast path knows: Tanh over the map at stride 8 in the neck. Of v8 only.
  bool exotic = false;
  // dynamic=True of v8 and 11: the size is open too, and anchors are computed in the graph.
  // REQUIRES: batch == -1.
  bool open_size = false;
  // The size of an open one's grid is that of what the last convolutions read, instead of what they
  // write: Ultralytics does either.
  bool grid_of_features = false;
  std::int64_t classes = 80;
  Task task = Task::kDetect;  // of v8 and 11: or segment, pose, obb
  std::int64_t opset = 17;
  std::uint64_t seed = 1;  // equal seeds give equal weights
};

// Weights keep activations near unit variance from end to end; biases are small. Input "images",
// output "output0": [N, 4 + classes, anchors], of v5 [N, anchors, 5 + classes], of other tasks more
// behind the classes; of segment "output1", [N, 32, height / 4, width / 4].
OnnxWriter make_yolo(YoloModel model, const YoloOptions& options = {});

}  // namespace fovea::engine::test
