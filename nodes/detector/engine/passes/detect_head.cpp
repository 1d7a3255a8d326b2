// Where a YOLO network stops being a network: the raw maps of its detect head.
//
// The structure only proposes: the convolutions nearest to the output are taken as maps, two per
// size. The numbers decide: the tail runs on random maps, and counts as the decoding of YOLOv8 and
// its successors if it gives what that decoding gives, whole or as the best boxes of a head without
// suppression. So exports may spell the tail in any way (Split or Slice, one concat or two, Softmax
// with transposes around it, a Conv or a MatMul as projection, any way to the best), and no other
// head passes for this one.
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/passes/head_maps.hpp"
#include "nodes/detector/engine/passes/head_proof.hpp"
#include "nodes/detector/engine/passes/head_recognisers.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

std::string list_strides(const HeadMaps& candidate) {
  std::string text;
  for (const MapLevel& level : candidate.levels)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", level.stride);
  return text;
}

// The maps in front of a tail that is proven to decode them, or why there are none.
struct Proof {
  std::optional<HeadMaps> maps;
  std::string why_not;
};
Result<Proof> proven_maps(const HeadQuestion& question) {
  const NetworkDefinition& network = question.network;
  const NetworkDefinition& shaped = question.shaped;
  if (question.stated == kYolov5Head) return Proof{{}, "another head is stated"};
  const auto task = network.metadata.find("task");
  if (task != network.metadata.end() && task->second != "detect") {
    return Proof{{}, other_task(task->second)};
  }
  if (network.inputs.size() != 1) return Proof{{}, "the model has several inputs"};
  std::size_t last_maps = 0;
  bool paired = false;
  for (const ValueId output : network.outputs) {
    if (shaped.value(output).dtype != DataType::kFloat32) {
      return Proof{{}, no_numbers(shaped.value(output))};
    }
    const std::vector<ValueId> maps = last_convolutions(network, output);
    if (!paired) last_maps = maps.size();
    for (const bool swapped : {false, true}) {
      auto candidate = pair_maps(shaped, maps, shaped.value(output).dims, swapped);
      if (!candidate) continue;
      paired = true;
      for (const bool corners : {false, true}) {
        // Only suppression, which was cut off, is known to read corners.
        if (corners && !network.suppression_cut) continue;
        candidate->corners = corners;
        FOVEA_ASSIGN(const bool decodes, tail_decodes(network, shaped, *candidate, output));
        if (decodes) return Proof{std::move(candidate), ""};
      }
    }
    if (!network.suppression_cut) break;
  }
  return Proof{{},
               paired ? "what follows the last convolutions computes no boxes of them"
                      : fmt::format("the last convolutions ({}) are no pairs of maps, one for "
                                    "boxes and one for classes per level",
                                    last_maps)};
}

}  // namespace

Result<std::optional<std::uint32_t>> classes_of_decoding(const HeadQuestion& question) {
  FOVEA_ASSIGN(const Proof proof, proven_maps(question));
  if (!proof.maps || proof.maps->best || question.network.suppression_cut) return std::nullopt;
  return static_cast<std::uint32_t>(proof.maps->classes);
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
  std::vector<std::uint32_t> strides;
  for (std::size_t l = 0; l < maps.levels.size(); ++l) {
    const MapLevel& level = maps.levels[l];
    strides.push_back(static_cast<std::uint32_t>(level.stride));
    answer.outputs.insert(answer.outputs.end(), {level.box, level.scores});
    answer.names.insert(answer.names.end(), {fmt::format("box{}", l), fmt::format("cls{}", l)});
  }
  answer.head.spec =
      dfl_head(static_cast<std::uint32_t>(maps.classes), static_cast<std::uint32_t>(maps.reg_max),
               strides, maps.best ? Suppression::kNone : Suppression::kNeeded);
  answer.head.basis = HeadBasis::kComputed;
  answer.head.note =
      fmt::format("DFL head{}: {} classes, {} bins, strides {}, as the model computes it",
                  maps.best                          ? " without suppression"
                  : question.network.suppression_cut ? ", its suppression cut off"
                                                     : "",
                  maps.classes, maps.reg_max, list_strides(maps));
  return answer;
}

}  // namespace fovea::engine
