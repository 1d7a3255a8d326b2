// Heads that choose the best boxes themselves, and are not cut off: because the user keeps the tail,
// which is then proven to be what it says, or because it is none that can be proven. Then the task and
// the class names say what rows of such a length are.
#include <algorithm>
#include <functional>
#include <numeric>

#include <fmt/core.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/onnx/metadata.hpp"
#include "nodes/detector/engine/passes/head_maps.hpp"
#include "nodes/detector/engine/passes/head_recognisers.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

// Without a word on it, more rows are a grid's, of which YOLOv5 has rows of six, too.
constexpr std::int64_t kMostRows = 1000;

HeadAnswer none(std::string why_not) {
  HeadAnswer answer;
  answer.why_not = std::move(why_not);
  return answer;
}

std::string metadata(const NetworkDefinition& network, const std::string& key) {
  const auto found = network.metadata.find(key);
  return found == network.metadata.end() ? "" : found->second;
}

HeadAnswer rows(const HeadQuestion& question, ValueId output, std::uint32_t classes,
                std::optional<LevelMap> more) {
  HeadAnswer answer;
  if (more) more->encoding = OutputEncoding::kDecoded;
  answer.outputs = {output};
  answer.names = {"output0"};
  answer.head.spec = rows_head(classes, more);
  if (more && more->role == OutputRole::kMaskCoefficients) {
    std::string why_not = add_prototypes(question, more->channels, answer);
    if (!why_not.empty()) return none(std::move(why_not));
    answer.names.emplace_back(answer.head.spec.find(OutputRole::kPrototype)->tensor.view());
  }
  answer.head.note = fmt::format("rows of the best boxes, {} classes", classes);
  if (more) answer.head.note += fmt::format(", {} numbers more each", more->channels);
  return answer;
}

// What a row of so many numbers has beyond a box, a score and a class; a reason if it cannot be.
struct Beyond {
  std::optional<LevelMap> more;
  std::string why_not;
};
Beyond beyond(const NetworkDefinition& network, std::int64_t fields) {
  const std::string task = metadata(network, "task");
  const std::int64_t more = fields - kBestFields;
  const auto channels = static_cast<std::uint32_t>(more);
  if (task == "obb" && more == 1) return {LevelMap{.role = OutputRole::kAngle}, ""};
  if (task == "segment" && more > 0) {
    return {LevelMap{.role = OutputRole::kMaskCoefficients, .channels = channels}, ""};
  }
  if (task == "pose" && more > 0) {
    const std::string shape = metadata(network, "kpt_shape");
    const std::vector<std::int64_t> points = parse_int_list(shape);
    if (points.size() != 2 || points[0] < 1 || points[1] < 2 || points[1] > 3 ||
        more % points[1] != 0 || more / points[1] != points[0]) {
      return {{},
              fmt::format("its rows have {} numbers beside a box, and kpt_shape is {}", more,
                          shape.empty() ? "missing" : shown(shape, 40))};
    }
    return {LevelMap{.role = OutputRole::kKeypoints,
                     .channels = channels,
                     .point_values = static_cast<std::uint32_t>(points[1])},
            ""};
  }
  if ((task == "detect" || task.empty()) && more == 0) return {};
  return {{}, fmt::format("rows of {} numbers are none of task '{}'", fields, shown(task, 40))};
}

}  // namespace

Result<HeadAnswer> recognise_rows(const HeadQuestion& question) {
  const NetworkDefinition& network = question.network;
  const bool stated = question.stated == kRowsHead;
  if (network.suppression_cut) return none("it suppresses boxes itself");
  if (!stated && question.stated != kAutoHead) return none("another head is stated");
  if (question.keep_output0) {
    FOVEA_ASSIGN(const auto own, own_rows_of(question));
    if (own) {
      HeadAnswer answer = rows(question, own->output, own->classes, own->more);
      answer.head.basis = HeadBasis::kComputed;
      answer.head.note += ", as the model computes them";
      return answer;
    }
  }
  if (const std::string task = metadata(network, "task"); !task.empty() && !finds_objects(task)) {
    return none(other_task(task));
  }
  const Value& output = question.shaped.value(network.outputs.front());
  const std::string shape =
      fmt::format("'{}' is {}", shown(output.name, 60), to_string(output.dims));
  const bool fits =
      output.dtype == DataType::kFloat32 && output.dims.size() == 3 &&
      output.dims[2] >= kBestFields &&
      (stated || output.dims[1] <= kMostRows || metadata(network, "end2end") == "True");
  if (!fits) {
    if (!stated) return none(fmt::format("{}, no rows of the best boxes", shape));
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("head is rows, which gives f32 [1, rows, 6 + more]; the model's output {}",
                    shape));
  }
  const auto classes = static_cast<std::uint32_t>(network.class_names.size());
  if (classes == 0 || (!stated && metadata(network, "task").empty())) {
    std::string why =
        fmt::format("{}, and metadata name no {}", shape, classes == 0 ? "classes" : "task");
    if (!stated) return none(std::move(why));
    return fail(ErrorCode::kInvalidArgument, fmt::format("head is rows, but {}", why));
  }
  const Beyond more = beyond(network, output.dims[2]);
  if (!more.why_not.empty()) {
    if (!stated) return none(more.why_not);
    return fail(ErrorCode::kInvalidArgument, fmt::format("head is rows, but {}", more.why_not));
  }
  HeadAnswer answer = rows(question, network.outputs.front(), classes, more.more);
  if (!answer.head.known()) return answer;
  answer.head.basis = stated ? HeadBasis::kStated : HeadBasis::kMetadata;
  answer.head.note += stated ? ", as stated" : ", by the metadata";
  return answer;
}

}  // namespace fovea::engine
