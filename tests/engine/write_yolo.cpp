// Writes a detector of the zoo as an ONNX file, for the command line and the benches.
#include <iostream>
#include <span>
#include <string_view>

#include "tests/engine/yolo_zoo.hpp"

namespace {

using namespace fovea::engine::test;

// False if the arguments are none.
bool write(std::span<char*> arguments) {
  if (arguments.size() < 2) return false;
  YoloOptions options;
  for (const std::string_view flag : arguments.subspan(2)) {
    if (flag == "--dynamic") {
      options.batch = -1;
      options.open_size = true;
    } else if (flag == "--exotic") {
      options.exotic = true;
    } else if (flag == "--two-classes") {
      options.classes = 2;
    } else {
      return false;
    }
  }
  for (const YoloModel model : kYoloModels) {
    if (arguments[0] != std::string_view(to_string(model))) continue;
    const YoloFamily family = family_of(model);
    if (options.open_size && family == YoloFamily::kV5) return false;
    if (options.exotic && family != YoloFamily::kV8) return false;
    make_yolo(model, options).save(arguments[1]);
    return true;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (write({argv + 1, argv + argc})) return 0;
  std::cerr << "usage: fovea-write-yolo MODEL FILE.onnx [--dynamic] [--exotic] [--two-classes]\n"
               "MODEL is one of";
  for (const YoloModel model : kYoloModels) std::cerr << " " << to_string(model);
  std::cerr << "\n--dynamic leaves batch, height and width open (not of yolov5)\n"
               "--exotic puts an operator without a fast kernel into the neck (of yolov8)\n"
               "--two-classes in place of 80: fewer detections to compare\n";
  return 2;
}
