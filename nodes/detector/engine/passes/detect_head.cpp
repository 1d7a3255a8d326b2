// Where a YOLO network stops being a network: the raw maps of its head.
//
// The structure only proposes: the convolutions nearest to the output are taken as maps, two or three
// per size. The numbers decide: the tail runs on random maps, and counts as the decoding of YOLOv8 and
// its successors if it gives what that decoding gives, whole or as the best boxes of a head without
// suppression. So exports may spell the tail in any way (Split or Slice, one concat or two, Softmax
// with transposes around it, a Conv or a MatMul as projection, any way to the best), and no other
// head passes for this one. What a third map is, and by which of the rules that there are, is found
// out in the same way; metadata are not asked, and warned of where they say something else.
#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/onnx/metadata.hpp"
#include "nodes/detector/engine/passes/head_maps.hpp"
#include "nodes/detector/engine/passes/head_proof.hpp"
#include "nodes/detector/engine/passes/head_recognisers.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

// The maps in front of a tail that is proven to decode them, or why there are none.
struct Proof {
  std::optional<HeadMaps> maps;
  Reading reading;            // of them
  ValueId output = kNoValue;  // that the tail computes of them
  std::string why_not;
};
Proof none(std::string why_not) { return {{}, {}, kNoValue, std::move(why_not)}; }

std::string task_of(const NetworkDefinition& network) {
  const auto task = network.metadata.find("task");
  return task == network.metadata.end() ? "" : task->second;
}

// What stands in the way of an output of boxes, in one line.
std::string no_boxes(const NetworkDefinition& network, bool possible, std::size_t last_maps) {
  const std::string task = task_of(network);
  if (!task.empty() && !finds_objects(task)) return other_task(task);
  if (possible) return "what follows the last convolutions computes no boxes of them";
  std::string why_not = fmt::format(
      "the last convolutions ({}) are no maps of a head: per level one for boxes, one for classes "
      "and perhaps one more",
      last_maps);
  const bool rounds =
      std::any_of(network.layers.begin(), network.layers.end(),
                  [](const Layer& layer) { return layer.op == OpType::kQuantizeLinear; });
  if (rounds)
    why_not += "; the model rounds to 8 bits between them, which only precision int8 adopts";
  return why_not;
}

Result<Proof> proven_maps(const HeadQuestion& question) {
  const NetworkDefinition& network = question.network;
  const NetworkDefinition& shaped = question.shaped;
  if (question.stated == kYolov5Head) return none("another head is stated");
  if (network.inputs.size() != 1) return none("the model has several inputs");
  std::size_t last_maps = 0;
  bool possible = false;
  for (const ValueId output : network.outputs) {
    // Prototypes, if other outputs are there.
    if (shaped.value(output).dims.size() == 4 && network.outputs.size() > 1) continue;
    if (shaped.value(output).dtype != DataType::kFloat32)
      return none(no_numbers(network, shaped.value(output)));
    const std::vector<ValueId> maps = last_convolutions(network, output);
    if (!possible) last_maps = maps.size();
    for (HeadMaps& head : possible_heads(shaped, maps, shaped.value(output).dims)) {
      possible = true;
      FOVEA_ASSIGN(const auto reading, proven_reading(network, shaped, head, output));
      if (reading) return Proof{std::move(head), *reading, output, ""};
    }
    if (!network.suppression_cut) break;
  }
  return none(no_boxes(network, possible, last_maps));
}

std::string described(const LevelMap& map) {
  switch (map.role) {
    case OutputRole::kAngle:
      return map.encoding == OutputEncoding::kLogit ? "an angle as a logit" : "an angle";
    case OutputRole::kKeypoints:
      return fmt::format(
          "{} keypoints of {} numbers, offsets from the cell's {}", map.channels / map.point_values,
          map.point_values,
          map.encoding == OutputEncoding::kTwiceOffset ? "corner, halved" : "centre");
    default:
      return fmt::format("{} mask coefficients", map.channels);
  }
}

std::string described(const HeadSpec& spec, const Proof& proof, bool suppression_cut) {
  std::string text = "DFL head";
  if (proof.maps->best) text += " without suppression";
  if (suppression_cut) text += ", its suppression cut off";
  text += fmt::format(": {} classes, {} bins, strides ", spec.classes(), spec.bins());
  for (const MapLevel& level : proof.maps->levels) text += fmt::format("{}, ", level.stride);
  if (proof.reading.more) text += described(*proof.reading.more) + ", ";
  return text + "as the model computes it";
}

// Metadata that say something else than the numbers.
std::vector<std::string> contradictions(const NetworkDefinition& network, const HeadSpec& spec) {
  std::vector<std::string> warnings = contradictions(network, spec.task());
  const OutputMap* points = spec.find(OutputRole::kKeypoints);
  const auto shape = network.metadata.find("kpt_shape");
  if (points == nullptr || shape == network.metadata.end()) return warnings;
  const std::vector<std::int64_t> computed = {points->channels / points->point_values,
                                              points->point_values};
  if (parse_int_list(shape->second) != computed) {
    warnings.push_back(
        fmt::format("the metadata say kpt_shape {}, and the model computes [{}, {}], which counts",
                    shown(shape->second, 40), computed[0], computed[1]));
  }
  return warnings;
}

}  // namespace

std::string add_prototypes(const HeadQuestion& question, std::uint32_t coefficients,
                           HeadAnswer& answer) {
  const Dims& input = question.shaped.value(question.shaped.inputs[0]).dims;
  std::string why_not =
      fmt::format("it gives {} mask coefficients per box, and no output holds as many prototypes",
                  coefficients);
  ValueId found = kNoValue;
  std::uint32_t found_stride = 0;
  for (const ValueId id : question.network.outputs) {
    const Value& output = question.shaped.value(id);
    if (output.dims.size() != 4 || output.dims[1] != coefficients ||
        output.dtype != DataType::kFloat32) {
      continue;
    }
    const std::int64_t height = output.dims[2];
    const std::int64_t width = output.dims[3];
    const std::int64_t stride = height < 1 ? 0 : input[2] / height;
    if (stride < 1 || stride * height != input[2] || stride * width != input[3]) {
      why_not = fmt::format("'{}' is {}, a mask output of another stride: the input is {} x {}",
                            shown(output.name, 60), to_string(output.dims), input[3], input[2]);
      continue;
    }
    if (found != kNoValue) {
      return fmt::format("'{}' and '{}' could both be the prototypes of its {} mask coefficients",
                         shown(question.shaped.value(found).name, 60), shown(output.name, 60),
                         coefficients);
    }
    found = id;
    found_stride = static_cast<std::uint32_t>(stride);
  }
  if (found == kNoValue) return why_not;
  answer.head.spec.maps.push_back(prototypes(coefficients, found_stride));
  answer.outputs.push_back(found);
  return "";
}

Result<Columns> columns_of(const HeadQuestion& question) {
  FOVEA_ASSIGN(const Proof proof, proven_maps(question));
  Columns columns;
  if (!proof.maps || proof.maps->best || question.network.suppression_cut) return columns;
  if (proof.reading.more) {
    columns.why_not = fmt::format("beside boxes and scores it holds {}, which only raw maps have",
                                  described(*proof.reading.more));
  } else {
    columns.classes = static_cast<std::uint32_t>(proof.maps->classes);
  }
  return columns;
}

Result<std::optional<OwnRows>> own_rows_of(const HeadQuestion& question) {
  FOVEA_ASSIGN(const Proof proof, proven_maps(question));
  if (!proof.maps || !proof.maps->best || question.network.suppression_cut) return std::nullopt;
  return OwnRows{static_cast<std::uint32_t>(proof.maps->classes), proof.reading.more, proof.output};
}

Result<HeadAnswer> recognise_dfl(const HeadQuestion& question) {
  HeadAnswer answer;
  if (question.keep_output0) {
    answer.why_not = "output0 is to be kept";
    return answer;
  }
  FOVEA_ASSIGN(const Proof proof, proven_maps(question));
  answer.why_not = proof.why_not;
  if (!proof.maps) return answer;
  const HeadMaps& maps = *proof.maps;
  if (question.stated == kRowsHead && !maps.best) {
    answer.why_not = "another head is stated";
    return answer;
  }
  std::vector<std::uint32_t> strides;
  for (const MapLevel& level : maps.levels) {
    strides.push_back(static_cast<std::uint32_t>(level.stride));
    answer.outputs.insert(answer.outputs.end(), {level.box, level.scores});
    if (level.more != kNoValue) answer.outputs.push_back(level.more);
  }
  HeadSpec& spec = answer.head.spec;
  spec =
      dfl_head(static_cast<std::uint32_t>(maps.classes), static_cast<std::uint32_t>(maps.reg_max),
               strides, maps.best ? Suppression::kNone : Suppression::kNeeded, proof.reading.more);
  if (spec.find(OutputRole::kMaskCoefficients) != nullptr) {
    std::string why_not = add_prototypes(question, proof.reading.more->channels, answer);
    if (!why_not.empty()) return HeadAnswer{{}, {}, {}, std::move(why_not)};
  }
  for (const OutputMap& map : spec.maps) answer.names.emplace_back(map.tensor.view());
  answer.head.basis = HeadBasis::kComputed;
  answer.head.note = described(spec, proof, question.network.suppression_cut);
  answer.head.warnings = contradictions(question.network, spec);
  return answer;
}

}  // namespace fovea::engine
