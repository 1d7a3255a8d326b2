// Writes a detector of the zoo as an ONNX file, for the command line and the benches.
#include <iostream>

#include "tests/engine/yolo_zoo.hpp"

int main(int argc, char** argv) {
  using fovea::engine::test::YoloModel;
  const std::string_view name = argc > 1 ? argv[1] : "";
  for (const YoloModel model :
       {YoloModel::kV8n, YoloModel::kV8s, YoloModel::kV8m, YoloModel::kV11n, YoloModel::kV5n}) {
    if (argc == 3 && name == fovea::engine::test::to_string(model)) {
      fovea::engine::test::make_yolo(model).save(argv[2]);
      return 0;
    }
  }
  std::cerr << "usage: fovea-write-yolo yolov8n|yolov8s|yolov8m|yolo11n|yolov5n FILE.onnx\n";
  return 2;
}
