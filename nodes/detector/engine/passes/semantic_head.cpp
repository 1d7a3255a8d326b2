// A class for every pixel. The structure proposes: the one convolution nearest to the output gives a
// logit per class and cell. The numbers decide: what follows runs on made-up logits, and counts if it
// gives the greatest of them, interpolated between the cells' centres, or these numbers themselves. That
// is cut off: it costs as much as half of the network, and postprocess does it where it is needed.
//
// Labels prove themselves. Numbers alone could be those of any map, so that metadata are asked then.
#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/head_recognisers.hpp"
#include "nodes/detector/engine/passes/interpolated_map.hpp"
#include "nodes/detector/engine/passes/made_up_values.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

constexpr std::int64_t kMostClasses = 255;  // that a label of 8 bits and "none" tell apart

// What the output is of the logits: f32 [1, classes, h, w], or a label per pixel in any type.
struct Shape {
  bool labels = false;
  std::int64_t height = 0;
  std::int64_t width = 0;
};
std::optional<Shape> shape_of(const Value& output, std::int64_t classes) {
  const Dims& dims = output.dims;
  if (dims.size() == 3) return Shape{true, dims[1], dims[2]};
  if (dims.size() != 4) return std::nullopt;
  if (output.dtype == DataType::kFloat32 && dims[1] == classes) {
    return Shape{false, dims[2], dims[3]};
  }
  if (dims[1] == 1) return Shape{true, dims[2], dims[3]};
  return std::nullopt;
}

// A label as a number; below 0 for a type that holds none.
std::int64_t label_at(const reference::Tensor& labels, std::int64_t index) {
  switch (labels.dtype) {
    case DataType::kUint8:
    case DataType::kBool:
      return labels.data<std::uint8_t>()[index];
    case DataType::kInt32:
      return labels.data<std::int32_t>()[index];
    case DataType::kInt64:
      return labels.data<std::int64_t>()[index];
    case DataType::kFloat32: {
      const float label = labels.data<float>()[index];
      return label >= 0 && label < 1e6F && label == std::floor(label)
                 ? static_cast<std::int64_t>(label)
                 : -1;
    }
    default:
      return -1;
  }
}

// By how much logits may be off, as a share of their range.
constexpr float kRounding = 1e-4F;

// Of one class the label is whether its number is above 0.
bool is_label(const InterpolatedMap& logits, std::int64_t y, std::int64_t x, std::int64_t label,
              float tolerance) {
  if (logits.channels() == 1) {
    const float value = logits.at(0, y, x);
    return std::abs(value) <= tolerance || label == (value > 0 ? 1 : 0);
  }
  if (label < 0 || label >= logits.channels()) return false;
  const float chosen = logits.at(label, y, x) + tolerance;
  for (std::int64_t c = 0; c < logits.channels(); ++c) {
    if (!(logits.at(c, y, x) <= chosen)) return false;
  }
  return true;
}

bool agrees(const reference::Tensor& output, const InterpolatedMap& logits, const Shape& shape,
            float tolerance) {
  for (std::int64_t y = 0; y < shape.height; ++y) {
    for (std::int64_t x = 0; x < shape.width; ++x) {
      const std::int64_t pixel = y * shape.width + x;
      if (shape.labels) {
        if (!is_label(logits, y, x, label_at(output, pixel), tolerance)) return false;
        continue;
      }
      for (std::int64_t c = 0; c < logits.channels(); ++c) {
        const float value = output.data<float>()[c * shape.height * shape.width + pixel];
        if (!(std::abs(value - logits.at(c, y, x)) <= tolerance)) return false;
      }
    }
  }
  return true;
}

// Whether what follows `map` gives the class of each pixel, or the interpolated logits.
Result<bool> is_proven(const NetworkDefinition& network, ValueId map, ValueId output,
                       const Shape& shape) {
  if (map == output) return true;
  NetworkDefinition tail = network;
  FOVEA_TRY(keep_between(tail, {map}, {output}));
  // What is usual, and far more: a tail that limits its numbers is another one.
  for (const float range : {5.0F, 30.0F}) {
    const reference::TensorMap logits = made_up_inputs(tail, range);
    const auto outputs = reference::evaluate(tail, logits);
    if (!outputs) return false;
    const InterpolatedMap wanted(logits.begin()->second, shape.height, shape.width,
                                 CellPlace::kCentres);
    const float tolerance = network.own_grids.empty() ? kRounding * range : 0.02F * range;
    if (!agrees(outputs->begin()->second, wanted, shape, tolerance)) return false;
    if (!network.own_grids.empty()) break;  // a model's own 8 bits limit its numbers
  }
  return true;
}

bool is_convolution(const Layer& layer) { return layer.op == OpType::kConv; }

}  // namespace

Result<HeadAnswer> recognise_semantic(const HeadQuestion& question) {
  const NetworkDefinition& network = question.network;
  const auto task = network.metadata.find("task");
  const bool says_so = task != network.metadata.end() && task->second == name_of(Task::kSemantic);
  const auto refused = [&](std::string why_not) -> HeadAnswer {
    if (task != network.metadata.end() && !says_so) why_not = other_task(task->second);
    return {{}, {}, {}, std::move(why_not)};
  };
  if (question.stated != kAutoHead) return refused("another head is stated");
  if (network.inputs.size() != 1 || network.outputs.size() != 1) {
    return refused(
        fmt::format("a semantic model has one input and one output, and it has {} and {}",
                    network.inputs.size(), network.outputs.size()));
  }
  const ValueId id = network.outputs.front();
  const Value& output = question.shaped.value(id);
  const std::vector<ValueId> maps = nearest_written(network, id, is_convolution);
  const Dims logits = maps.size() == 1 ? question.shaped.value(maps[0]).dims : Dims{};
  const auto shape = logits.size() == 4 ? shape_of(output, logits[1]) : std::nullopt;
  if (!shape || (!shape->labels && !says_so)) {
    return refused(
        fmt::format("'{}' is {} {}; a semantic model's is [1, height, width] of labels, or "
                    "[1, classes, height, width] of numbers and a task that says so",
                    shown(output.name, 60), to_string(output.dtype), to_string(output.dims)));
  }
  const Dims& input = question.shaped.value(question.shaped.inputs[0]).dims;
  const std::int64_t stride = logits[2] < 1 ? 0 : input[2] / logits[2];
  if (stride < 1 || stride * logits[2] != input[2] || stride * logits[3] != input[3] ||
      (shape->labels && (shape->height != input[2] || shape->width != input[3]))) {
    return refused(fmt::format(
        "'{}' is {} of a map of {} x {}, of another stride: the input is {} x {}",
        shown(output.name, 60), to_string(output.dims), logits[3], logits[2], input[3], input[2]));
  }
  FOVEA_ASSIGN(const bool proven, is_proven(network, maps[0], id, *shape));
  if (!proven) {
    return refused(
        "what follows the last convolution does not choose the greatest of the classes "
        "at each pixel");
  }
  if (logits[1] > kMostClasses) {
    return refused(fmt::format("it tells {} classes apart; a label holds at most {}", logits[1],
                               kMostClasses));
  }
  if (question.keep_output0) return refused("output0 is to be kept");
  HeadAnswer answer;
  answer.head.spec =
      semantic_head(static_cast<std::uint32_t>(logits[1]), static_cast<std::uint32_t>(stride));
  answer.head.basis = shape->labels ? HeadBasis::kComputed : HeadBasis::kMetadata;
  answer.head.note =
      fmt::format("semantic map: logits of {} classes, stride {}", logits[1], stride);
  answer.head.warnings = contradictions(network, Task::kSemantic);
  answer.outputs = {maps[0]};
  answer.names = {std::string(answer.head.spec.maps[0].tensor.view())};
  return answer;
}

}  // namespace fovea::engine
