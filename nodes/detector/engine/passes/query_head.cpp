// Transformers (RT-DETR, D-FINE, DEIM, RF-DETR): every query finds one object, so nothing is
// suppressed. What their exports put behind the queries, a choice of the best pairs of a query and a
// class, is proven to be that on made-up queries and cut off: thresholds stay parameters, and the
// boxes come as shares of the picture whatever size the model would scale them to.
#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/head_recognisers.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/passes/query_proof.hpp"

namespace fovea::engine {

namespace {

using Form = QueryOutputs::Form;

constexpr std::size_t kMostPairs = 64;  // of candidates that are tried
constexpr std::int64_t kMostQueries = 4096;
constexpr std::int64_t kBoxFields = 4;
constexpr std::int64_t kRowFields = 6;  // box, score, class

// COCO's own class numbers, 0 to 90, which RF-DETR's published models keep.
constexpr std::int64_t kSparseCoco = 91;

bool is_rows(const Value& value, std::int64_t fields) {
  return value.dtype == DataType::kFloat32 && value.dims.size() == 3 && value.dims[0] == 1 &&
         value.dims[1] >= 1 && value.dims[1] <= kMostQueries && value.dims[2] == fields;
}

// The forms that the outputs' shapes allow.
std::vector<QueryOutputs> possible_outputs(const NetworkDefinition& shaped) {
  std::vector<QueryOutputs> found;
  if (shaped.outputs.size() == 1) {
    const ValueId id = shaped.outputs[0];
    const Value& output = shaped.value(id);
    if (output.dims.size() != 3 || !is_rows(output, output.dims[2])) return found;
    const std::int64_t rows = output.dims[1];
    if (output.dims[2] == kRowFields) found.push_back({Form::kRows, id, kNoValue, kNoValue, rows});
    if (output.dims[2] > kBoxFields) found.push_back({Form::kAll, id, kNoValue, kNoValue, rows});
    return found;
  }
  if (shaped.outputs.size() != 3) return found;
  QueryOutputs parts{Form::kParts, kNoValue, kNoValue, kNoValue, 0};
  for (const ValueId id : shaped.outputs) {
    const Value& output = shaped.value(id);
    if (is_rows(output, kBoxFields)) {
      parts.boxes = id;
      parts.rows = output.dims[1];
    } else if (output.dims.size() == 2 && output.dims[0] == 1) {
      if (output.dtype == DataType::kFloat32) parts.scores = id;
      if (output.dtype == DataType::kInt64) parts.labels = id;
    }
  }
  const bool whole = parts.boxes != kNoValue && parts.scores != kNoValue &&
                     parts.labels != kNoValue && shaped.value(parts.scores).dims[1] == parts.rows &&
                     shaped.value(parts.labels).dims[1] == parts.rows;
  if (whole) found.push_back(parts);
  return found;
}

// Where a tail may begin, nearest to the outputs first.
struct Candidates {
  std::vector<ValueId> boxes;
  std::vector<ValueId> logits;
};

bool computes_features(const Layer& layer) {
  return layer.op == OpType::kConv || layer.op == OpType::kMatMul || layer.op == OpType::kGemm ||
         layer.op == OpType::kLayerNormalization;
}

Candidates candidates_in(const NetworkDefinition& network, const NetworkDefinition& shaped) {
  const GraphIndex index(network);
  std::vector<bool> seen(network.values.size(), false);
  std::deque<ValueId> pending(network.outputs.begin(), network.outputs.end());
  Candidates candidates;
  while (!pending.empty()) {
    const ValueId id = pending.front();
    pending.pop_front();
    if (id == kNoValue || seen[static_cast<std::size_t>(id)]) continue;
    seen[static_cast<std::size_t>(id)] = true;
    const auto producer = index.producer(id);
    if (!producer) continue;
    const Value& value = shaped.value(id);
    if (is_rows(value, kBoxFields)) candidates.boxes.push_back(id);
    const Layer& layer = network.layers[*producer];
    if (layer.op == OpType::kSigmoid) {
      const Value& x = shaped.value(layer.inputs[0]);
      if (x.dims.size() == 3 && is_rows(x, x.dims[2]) && index.producer(layer.inputs[0])) {
        candidates.logits.push_back(layer.inputs[0]);
      }
    }
    if (!computes_features(layer)) {
      pending.insert(pending.end(), layer.inputs.begin(), layer.inputs.end());
    }
  }
  return candidates;
}

// Whether the outputs depend on both maps and on nothing else that a picture changes.
bool is_all_between(const NetworkDefinition& network, const GraphIndex& index,
                    const QueryMaps& maps) {
  std::vector<bool> seen(network.values.size(), false);
  std::vector<ValueId> pending = network.outputs;
  bool boxes = false;
  bool logits = false;
  while (!pending.empty()) {
    const ValueId id = pending.back();
    pending.pop_back();
    if (id == kNoValue || seen[static_cast<std::size_t>(id)]) continue;
    seen[static_cast<std::size_t>(id)] = true;
    boxes = boxes || id == maps.boxes;
    logits = logits || id == maps.logits;
    if (id == maps.boxes || id == maps.logits || network.value(id).constant != nullptr) continue;
    const auto producer = index.producer(id);
    if (!producer || computes_features(network.layers[*producer])) return false;
    if (network.layers[*producer].op == OpType::kShape) continue;
    const Layer& layer = network.layers[*producer];
    pending.insert(pending.end(), layer.inputs.begin(), layer.inputs.end());
    pending.push_back(layer.residual);
  }
  return boxes && logits;
}

Result<std::optional<QueryMaps>> proven_queries(const HeadQuestion& question,
                                                const QueryOutputs& outputs) {
  const NetworkDefinition& shaped = question.shaped;
  const Dims& input = shaped.value(shaped.inputs[0]).dims;
  const GraphIndex index(question.network);
  const Candidates candidates = candidates_in(question.network, shaped);
  std::size_t tried = 0;
  for (const ValueId logits : candidates.logits) {
    for (const ValueId boxes : candidates.boxes) {
      const Dims& dims = shaped.value(logits).dims;
      const QueryMaps maps{boxes, logits, dims[1], dims[2]};
      const bool fits = shaped.value(boxes).dims[1] == maps.queries && boxes != logits &&
                        !index.is_output(boxes) && !index.is_output(logits) &&
                        outputs.rows <= maps.queries * maps.classes &&
                        (outputs.form != Form::kAll || outputs.rows == maps.queries);
      if (!fits || !is_all_between(question.network, index, maps)) continue;
      if (++tried > kMostPairs) return std::nullopt;
      FOVEA_ASSIGN(const auto given,
                   given_boxes(question.network, maps, outputs, input[3], input[2]));
      // What is handed on as it is may be anything of four numbers; of a sigmoid it is centre and size.
      const bool from_sigmoid =
          question.network.layers[*index.producer(boxes)].op == OpType::kSigmoid;
      if (given && (given->corners || from_sigmoid)) return maps;
    }
  }
  return std::nullopt;
}

HeadAnswer refused(std::string why_not) { return {{}, {}, {}, std::move(why_not)}; }

HeadAnswer answer_of(ValueId boxes, ValueId logits, std::int64_t classes) {
  HeadAnswer answer;
  answer.head.spec = query_head(static_cast<std::uint32_t>(classes));
  answer.outputs = {boxes, logits};
  answer.picture.resize = ResizeMode::kStretch;
  for (const OutputMap& map : answer.head.spec.maps) answer.names.emplace_back(map.tensor.view());
  return answer;
}

// RF-DETR's exports end at the queries themselves.
std::optional<HeadAnswer> named_queries(const HeadQuestion& question) {
  const NetworkDefinition& shaped = question.shaped;
  if (shaped.outputs.size() != 2) return std::nullopt;
  ValueId boxes = kNoValue;
  ValueId logits = kNoValue;
  for (const ValueId id : shaped.outputs) {
    const std::string& name = shaped.value(id).name;
    if (name == "dets" || name == "pred_boxes") boxes = id;
    if (name == "labels" || name == "logits" || name == "pred_logits") logits = id;
  }
  if (boxes == kNoValue || logits == kNoValue) return std::nullopt;
  const Dims& dims = shaped.value(logits).dims;
  if (!is_rows(shaped.value(boxes), kBoxFields) || dims.size() != 3 || dims[2] < 2 ||
      !is_rows(shaped.value(logits), dims[2]) || dims[1] != shaped.value(boxes).dims[1]) {
    return std::nullopt;
  }
  const std::int64_t columns = dims[2];
  const auto named = static_cast<std::int64_t>(question.network.class_names.size());
  const bool all = named == columns || (named == 0 && columns == kSparseCoco);
  HeadAnswer answer = answer_of(boxes, logits, all ? columns : columns - 1);
  answer.head.basis = HeadBasis::kMetadata;
  answer.picture.mean = {0.485F, 0.456F, 0.406F};  // ImageNet's, as RF-DETR's backbone is trained
  answer.picture.deviation = {0.229F, 0.224F, 0.225F};
  answer.head.note =
      fmt::format("queries of a transformer, {} of them, by the outputs' names; {} classes, {}",
                  dims[1], all ? columns : columns - 1,
                  all ? (named == columns ? "as many as it names" : "COCO's own numbers 0..90")
                      : "the last of its logits stands for none");
  return answer;
}

}  // namespace

Result<HeadAnswer> recognise_queries(const HeadQuestion& question) {
  const NetworkDefinition& network = question.network;
  if (question.stated != kAutoHead) return refused("another head is stated");
  if (question.keep_output0) return refused("output0 is to be kept");
  const auto task = network.metadata.find("task");
  if (task != network.metadata.end() &&
      task->second != kTaskNames[static_cast<std::size_t>(Task::kDetect)]) {
    return refused(other_task(task->second));
  }
  if (network.inputs.size() != 1 || network.suppression_cut) return refused("no transformer's");
  if (question.shaped.value(question.shaped.inputs[0]).dims.size() != 4) {
    return refused("no transformer's");
  }
  if (auto answer = named_queries(question)) return std::move(*answer);
  for (const QueryOutputs& outputs : possible_outputs(question.shaped)) {
    FOVEA_ASSIGN(const auto maps, proven_queries(question, outputs));
    if (!maps) continue;
    HeadAnswer answer = answer_of(maps->boxes, maps->logits, maps->classes);
    answer.head.basis = HeadBasis::kComputed;
    answer.head.note =
        fmt::format("queries of a transformer, {} of them: {} classes, {}as the model computes it",
                    maps->queries, maps->classes,
                    outputs.form == Form::kAll
                        ? ""
                        : fmt::format("its choice of the best {} cut off, ", outputs.rows));
    return answer;
  }
  return refused("no boxes and logits of queries are proven to be behind its outputs");
}

}  // namespace fovea::engine
