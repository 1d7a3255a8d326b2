// Writes a detector of the zoo as an ONNX file, for the command line and the benches.
#include <iostream>

#include "tests/engine/yolo_zoo.hpp"

int main(int argc, char** argv) {
  using fovea::engine::test::YoloModel;
  const std::string_view name = argc > 1 ? argv[1] : "";
  const bool dynamic = argc == 4 && std::string_view(argv[3]) == "--dynamic";
  for (const YoloModel model :
       {YoloModel::kV8n, YoloModel::kV8s, YoloModel::kV8m, YoloModel::kV11n, YoloModel::kV5n}) {
    const bool can = argc == 3 || (dynamic && model != YoloModel::kV5n);
    if (can && name == fovea::engine::test::to_string(model)) {
      fovea::engine::test::YoloOptions options;
      if (dynamic) {
        options.batch = -1;
        options.open_size = true;
      }
      fovea::engine::test::make_yolo(model, options).save(argv[2]);
      return 0;
    }
  }
  std::cerr
      << "usage: fovea-write-yolo yolov8n|yolov8s|yolov8m|yolo11n|yolov5n FILE.onnx [--dynamic]\n"
         "--dynamic leaves batch, height and width open (not of yolov5n)\n";
  return 2;
}
