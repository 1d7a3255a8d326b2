// How far away every pixel is. Metadata say that the numbers are distances, which none can prove, in m,
// as Ultralytics defines its task `depth`. What enlarges the map to the network's size is proven on
// made-up distances to interpolate linearly with the outermost cells on the edges, and is cut off.
#include <algorithm>
#include <cmath>
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

HeadAnswer refused(std::string why_not) { return {{}, {}, {}, std::move(why_not)}; }

bool enlarges_nothing(const Layer& layer) {
  switch (layer.op) {
    case OpType::kResize:
    case OpType::kIdentity:
    case OpType::kReshape:
    case OpType::kSqueeze:
    case OpType::kUnsqueeze:
      return false;
    default:
      return true;
  }
}

// f32 [1, 1, h, w] or [1, h, w]; else empty.
Dims map_extents(const Value& value) {
  const Dims& dims = value.dims;
  if (value.dtype != DataType::kFloat32) return {};
  if (dims.size() == 3) return {dims[1], dims[2]};
  return dims.size() == 4 && dims[1] == 1 ? Dims{dims[2], dims[3]} : Dims{};
}

Result<bool> is_interpolated(const NetworkDefinition& network, ValueId map, ValueId output,
                             const Dims& extents) {
  if (map == output) return true;
  NetworkDefinition tail = network;
  FOVEA_TRY(keep_between(tail, {map}, {output}));
  constexpr float kRange = 100;
  const reference::TensorMap cells = made_up_inputs(tail, kRange);
  const auto outputs = reference::evaluate(tail, cells);
  if (!outputs) return false;
  const InterpolatedMap wanted(cells.begin()->second, extents[0], extents[1], CellPlace::kCorners);
  const float* actual = outputs->begin()->second.data<float>();
  for (std::int64_t y = 0; y < extents[0]; ++y) {
    for (std::int64_t x = 0; x < extents[1]; ++x, ++actual) {
      if (!(std::abs(*actual - wanted.at(0, y, x)) <= 1e-4F * kRange)) return false;
    }
  }
  return true;
}

}  // namespace

Result<HeadAnswer> recognise_depth(const HeadQuestion& question) {
  const NetworkDefinition& network = question.network;
  if (question.stated != kAutoHead) return refused("another head is stated");
  const auto task = network.metadata.find("task");
  if (task == network.metadata.end()) return refused("no metadata say that it measures depth");
  if (task->second != name_of(Task::kDepth)) return refused(other_task(task->second));
  if (network.inputs.size() != 1 || network.outputs.size() != 1) {
    return refused(fmt::format("a depth model has one input and one output, and it has {} and {}",
                               network.inputs.size(), network.outputs.size()));
  }
  const ValueId id = network.outputs.front();
  const Value& output = question.shaped.value(id);
  const Dims extents = map_extents(output);
  if (extents.empty()) {
    return refused(fmt::format("'{}' is {} {}; a depth model's is f32 [1, 1, height, width]",
                               shown(output.name, 60), to_string(output.dtype),
                               to_string(output.dims)));
  }
  const std::vector<ValueId> written = nearest_written(network, id, enlarges_nothing);
  const ValueId map = written.size() == 1 ? written[0] : id;
  const Dims cells = question.shaped.value(map).dims.size() == 4
                         ? map_extents(question.shaped.value(map))
                         : Dims{};
  const Dims& input = question.shaped.value(question.shaped.inputs[0]).dims;
  const std::int64_t stride = cells.empty() || cells[0] < 1 ? 0 : input[2] / cells[0];
  if (stride < 1 || stride * cells[0] != input[2] || stride * cells[1] != input[3]) {
    return refused(
        fmt::format("'{}' is {}, which no whole number of pixels per cell makes of the "
                    "input's {} x {}",
                    shown(output.name, 60), to_string(output.dims), input[3], input[2]));
  }
  FOVEA_ASSIGN(const bool proven, is_interpolated(network, map, id, extents));
  if (!proven) {
    return refused(
        "what enlarges its map is no linear interpolation with the outermost cells on the "
        "edges (align_corners)");
  }
  if (question.keep_output0) return refused("output0 is to be kept");
  HeadAnswer answer;
  answer.head.spec = depth_head(static_cast<std::uint32_t>(stride));
  answer.head.basis = HeadBasis::kMetadata;
  answer.head.note = fmt::format("depth map in m, by the metadata; stride {}", stride);
  answer.outputs = {map};
  answer.names = {std::string(answer.head.spec.maps[0].tensor.view())};
  return answer;
}

}  // namespace fovea::engine
