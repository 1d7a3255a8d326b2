// The suppression of boxes that some exporters put behind a detect head (Ultralytics' nms=True): its
// shapes depend on what is in the picture, its thresholds are constants, and postprocess does the
// same. Internal to parser.cpp and summary.cpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace onnx {
class GraphProto;
}

namespace fovea::engine {

struct SuppressionCut {
  std::vector<bool> kept;  // per node
  // Values, the nearest first, through each of which has come all that the suppression reads.
  std::vector<std::string> outputs;
  std::vector<std::string> beside;  // outputs that do not come from the suppression
};

// nullopt if there is no suppression (a NonMaxSuppression, or what turned boxes have instead), or no
// such value.
std::optional<SuppressionCut> find_suppression(const onnx::GraphProto& graph);

// The outputs become those of `cut`, then those beside it.
void cut_suppression(const SuppressionCut& cut, onnx::GraphProto& graph);

}  // namespace fovea::engine
