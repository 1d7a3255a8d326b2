// The detectors that people bring, as graphs: node for node what Ultralytics' exporter writes for
// YOLOv8 n/s/m, YOLO11n and YOLOv5n, with random weights, so that tests need no model files.
#pragma once

#include <cstdint>

#include "tests/engine/onnx_writer.hpp"

namespace fovea::engine::test {

enum class YoloModel { kV8n, kV8s, kV8m, kV11n, kV5n };

// "yolov8n", "yolo11n", ...
const char* to_string(YoloModel model);

struct YoloOptions {
  std::int64_t height = 640;  // multiples of 32
  std::int64_t width = 640;
  // -1 = open: reshapes then take their extents from Shape and Gather, as in exports with
  // dynamic=True. The size stays in metadata "imgsz".
  std::int64_t batch = 1;
  // dynamic=True of v8 and 11: the size is open too, and anchors are computed in the graph.
  // REQUIRES: batch == -1.
  bool open_size = false;
  std::int64_t classes = 80;
  std::int64_t opset = 17;
  std::uint64_t seed = 1;  // equal seeds give equal weights
};

// Weights keep activations near unit variance from end to end; biases are small. Input "images",
// output "output0": [N, 4 + classes, anchors], of v5 [N, anchors, 5 + classes].
OnnxWriter make_yolo(YoloModel model, const YoloOptions& options = {});

}  // namespace fovea::engine::test
