#include "nodes/detector/engine/passes/head_recognisers.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "nodes/base/refusals.hpp"
#include "nodes/base/text.hpp"
#include "nodes/detector/engine/onnx/metadata.hpp"
#include "nodes/detector/engine/passes/family_heads.hpp"
#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

// Those that prove something first, those that guess last.
constexpr std::array kRecognisers = {
    HeadRecogniser{"dfl", recognise_dfl},
    HeadRecogniser{"queries", recognise_queries},
    HeadRecogniser{"dfl_rows", recognise_dfl_rows},
    HeadRecogniser{"grid", recognise_grid},
    HeadRecogniser{"pair", recognise_pair},
    HeadRecogniser{"classify", recognise_classify},
    HeadRecogniser{"semantic", recognise_semantic},
    HeadRecogniser{"depth", recognise_depth},
    HeadRecogniser{"rows", recognise_rows},
    HeadRecogniser{"decoded", recognise_decoded},
    HeadRecogniser{"decoded_objectness", recognise_objectness},
};

constexpr std::string_view kSuppresses =
    "suppresses boxes itself, which only ONNX Runtime's provider runs: export it without "
    "(Ultralytics: without nms=True)";

ResizeMode resize_of(Task task) {
  switch (task) {
    case Task::kClassify:
      return ResizeMode::kCentreCrop;
    case Task::kDepth:
      return ResizeMode::kStretch;
    default:
      return ResizeMode::kLetterbox;
  }
}

// What is wrong with the names in the metadata becomes a warning of network.head.
void warn_of_class_names(NetworkDefinition& network) {
  HeadInfo& head = network.head;
  if (head.spec.task() == Task::kDepth) return;  // it knows none
  const auto metadata = network.metadata.find("names");
  std::string problem;
  if (metadata != network.metadata.end()) problem = read_class_names(metadata->second).problem;
  const std::size_t classes = head.classes();
  const std::size_t named = network.class_names.size();
  if (!problem.empty()) head.warnings.push_back(problem);
  if (named > classes) {
    head.warnings.push_back(fmt::format(
        "the model has {} classes and its metadata {} names; the last {} are left out; names:=FILE "
        "gives others",
        classes, named, named - classes));
  } else if (named > 0 && named < classes) {
    head.warnings.push_back(
        fmt::format("the model has {} classes and its metadata {} names; the others are called "
                    "class_{} and so on; names:=FILE gives all",
                    classes, named, named));
  } else if (named == 0 && problem.empty() && head.basis != HeadBasis::kAssumed) {
    head.warnings.push_back(fmt::format(
        "the model brings no names for its {} classes; they are called class_0 and so on; "
        "names:=FILE gives them",
        classes));
  }
}

}  // namespace

bool is_decoded(std::string_view task) {
  return std::find(kTaskNames.begin(), kTaskNames.end(), task) != kTaskNames.end();
}

bool finds_objects(std::string_view task) {
  const auto found = std::find(kTaskNames.begin(), kTaskNames.end(), task);
  return found != kTaskNames.end() &&
         fovea::finds_objects(static_cast<Task>(found - kTaskNames.begin()));
}

std::string_view name_of(Task task) { return kTaskNames[static_cast<std::size_t>(task)]; }

std::vector<std::string> contradictions(const NetworkDefinition& network, Task computed) {
  const auto task = network.metadata.find("task");
  if (task == network.metadata.end() || task->second == name_of(computed)) return {};
  return {fmt::format("the metadata say task '{}', and the model computes {}, which counts",
                      shown(task->second, 40), name_of(computed))};
}

std::string other_task(std::string_view task) {
  std::string text = fmt::format("its task is '{}'", shown(task, 40));
  if (!is_decoded(task)) text += fmt::format("; decoded are {}", fmt::join(kTaskNames, ", "));
  return text;
}

std::string no_numbers(const NetworkDefinition& network, const Value& output) {
  const auto task = network.metadata.find("task");
  if (task != network.metadata.end() && !is_decoded(task->second)) return other_task(task->second);
  return fmt::format("'{}' holds {}, no numbers of a head", shown(output.name, 60),
                     to_string(output.dtype));
}

std::span<const HeadRecogniser> head_recognisers() { return kRecognisers; }

Result<HeadAnswer> find_head(const HeadQuestion& question,
                             std::span<const HeadRecogniser> recognisers) {
  Refusals refusals;
  for (const HeadRecogniser& recogniser : recognisers) {
    FOVEA_ASSIGN(HeadAnswer answer, recogniser.recognise(question));
    if (answer.head.known()) answer.why_not = problem_of(answer.head.spec);
    if (answer.head.known() && answer.why_not.empty()) {
      answer.head.name = recogniser.name;
      if (answer.picture == InputSpec{}) answer.picture.resize = resize_of(answer.head.spec.task());
      return answer;
    }
    if (!answer.why_not.empty()) refusals.add(recogniser.name, std::move(answer.why_not));
  }
  HeadAnswer none;
  none.head.note = refusals.text();
  return none;
}

Result<PassOutcome> recognise_head(NetworkDefinition& network, const LoweringOptions& options) {
  PassOutcome outcome;
  network.head = {};
  if (options.keep_output0 && network.suppression_cut) {
    return fail(ErrorCode::kUnsupported,
                "keep_output0 would keep the model's own suppression, whose shapes depend on the "
                "picture: only ONNX Runtime's provider runs it (provider onnxruntime); without "
                "keep_output0 it is cut off and postprocess suppresses");
  }
  if (options.head == kNoHead && network.suppression_cut) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("head is none, but the model {}", kSuppresses));
  }
  if (options.head == kNoHead) {
    network.head.basis = HeadBasis::kStated;
    network.head.note = "none, as stated";
    outcome.note = network.head.note;
    return outcome;
  }
  FOVEA_ASSIGN(const NetworkDefinition shaped, with_shapes(network));
  FOVEA_ASSIGN(HeadAnswer answer, find_head({network, shaped, options.head, options.keep_output0}));
  network.head = std::move(answer.head);
  network.picture = answer.picture;
  outcome.note = network.head.note;
  if (network.suppression_cut && !network.head.known()) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("the model {}; {}", kSuppresses, network.head.note));
  }
  if (!network.head.known()) return outcome;
  if (network.suppression_cut) {
    const std::size_t named = network.class_names.size();
    if (named > 0 && named < network.head.classes()) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("the model {}; it has {} classes before that and names {}",
                              kSuppresses, network.head.classes(), named));
    }
    network.head.warnings.push_back(
        "the model suppresses boxes itself; that is cut off with its thresholds and what follows "
        "it, "
        "and postprocess's parameters decide");
  }
  if (answer.outputs.size() == 1) {
    outcome.note = fmt::format("'{}' is {}: {}", answer.names[0],
                               to_string(shaped.value(answer.outputs[0]).dims), network.head.note);
  }
  network.outputs = answer.outputs;
  for (std::size_t i = 0; i < answer.outputs.size(); ++i) {
    network.value(answer.outputs[i]).name = answer.names[i];
  }
  warn_of_class_names(network);
  const std::size_t before = network.layers.size();
  FOVEA_TRY(remove_dead_layers(network));
  outcome.changes = before - network.layers.size();
  return outcome;
}

}  // namespace fovea::engine
