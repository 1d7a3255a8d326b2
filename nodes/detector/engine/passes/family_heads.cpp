// The tails run on made-up maps, and count as what gives the same numbers.
#include "nodes/detector/engine/passes/family_heads.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/grid_head.hpp"
#include "nodes/base/text.hpp"
#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/head_maps.hpp"
#include "nodes/detector/engine/passes/head_proof.hpp"
#include "nodes/detector/engine/passes/made_up_values.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

using reference::Tensor;
using reference::TensorMap;

constexpr std::int64_t kRowFields = 5;  // box and objectness

// Without a reason where an output has not even the shape: the recognisers of other heads say what
// it is then.
HeadAnswer none(std::string why_not = {}) { return {{}, {}, {}, std::move(why_not), {}}; }

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }

bool is_asked(const HeadQuestion& question) {
  return question.stated == kAutoHead && !question.keep_output0 &&
         question.network.inputs.size() == 1 && !question.network.suppression_cut;
}

// --- YOLOX ---

// What YOLOX makes of its maps: rows of 5 + classes. Two forms of the same head.
enum class Rows { kRaw, kDecoded };

class GridProof {
 public:
  GridProof(const HeadMaps& head, const TensorMap& maps, const Tensor& rows)
      : head_(head), maps_(maps), rows_(rows) {}

  bool is(Rows form) const {
    const std::int64_t fields = kRowFields + head_.classes;
    const float* row = rows_.data<float>();
    for (std::size_t l = 0; l < head_.levels.size(); ++l) {
      const MapLevel& level = head_.levels[l];
      for (std::int64_t cell = 0; cell < level.height * level.width; ++cell, row += fields) {
        if (!is_row(form, l, cell, row)) return false;
      }
    }
    return true;
  }

 private:
  float value(const char* kind, std::size_t l, std::int64_t channel, std::int64_t cell) const {
    const MapLevel& level = head_.levels[l];
    return maps_.at(fmt::format("{}{}", kind, l))
        .data<float>()[channel * level.height * level.width + cell];
  }

  bool is_row(Rows form, std::size_t l, std::int64_t cell, const float* row) const {
    const MapLevel& level = head_.levels[l];
    std::array<float, 4> box{};
    for (std::int64_t i = 0; i < 4; ++i) {
      box[static_cast<std::size_t>(i)] = value("box", l, i, cell);
    }
    if (form == Rows::kDecoded) {
      const auto stride = static_cast<float>(level.stride);
      box[0] = (box[0] + static_cast<float>(cell % level.width)) * stride;
      box[1] = (box[1] + static_cast<float>(cell / level.width)) * stride;
      box[2] = std::exp(box[2]) * stride;
      box[3] = std::exp(box[3]) * stride;
    }
    const auto same = [](float got, float wanted) {
      return std::abs(got - wanted) <= 1e-3F + 1e-4F * std::abs(wanted);
    };
    for (std::size_t i = 0; i < 4; ++i) {
      if (!same(row[i], box[i])) return false;
    }
    constexpr float kScores = 1e-4F;
    if (!(std::abs(row[4] - sigmoid(value("more", l, 0, cell))) <= kScores)) return false;
    for (std::int64_t c = 0; c < head_.classes; ++c) {
      if (!(std::abs(row[kRowFields + c] - sigmoid(value("cls", l, c, cell))) <= kScores)) {
        return false;
      }
    }
    return true;
  }

  const HeadMaps& head_;
  const TensorMap& maps_;
  const Tensor& rows_;
};

// What the tail behind the maps gives; nullopt if it cannot be run.
Result<std::optional<Rows>> form_of(const NetworkDefinition& network, const HeadMaps& head,
                                    ValueId output) {
  NetworkDefinition tail = network;
  std::vector<ValueId> inputs;
  for (std::size_t l = 0; l < head.levels.size(); ++l) {
    const MapLevel& level = head.levels[l];
    for (const auto& [kind, id] : {std::pair("box", level.box), std::pair("cls", level.scores),
                                   std::pair("more", level.more)}) {
      tail.value(id).name = fmt::format("{}{}", kind, l);
      inputs.push_back(id);
    }
  }
  FOVEA_TRY(keep_between(tail, inputs, {output}));
  const TensorMap maps = made_up_inputs(tail, 3);
  const auto outputs = reference::evaluate(tail, maps);
  if (!outputs) return std::optional<Rows>();
  const GridProof proof(head, maps, outputs->begin()->second);
  if (proof.is(Rows::kRaw)) return std::optional(Rows::kRaw);
  if (proof.is(Rows::kDecoded)) return std::optional(Rows::kDecoded);
  return std::optional<Rows>();
}

// YOLOX takes the picture apart first; the first YOLOv6, whose head is the same, does not.
bool begins_with_focus(const NetworkDefinition& network) {
  const GraphIndex index(network);
  const auto& readers = index.readers(network.inputs[0]);
  return readers.size() >= 2 && std::all_of(readers.begin(), readers.end(), [&](std::size_t i) {
           return network.layers[i].op == OpType::kSlice;
         });
}

InputSpec yolox_picture() {
  InputSpec picture;
  picture.colour = ColourOrder::kBgr;
  picture.range = ValueRange::kBytes;
  picture.resize = ResizeMode::kLetterboxTopLeft;
  return picture;
}

HeadAnswer grid_answer(const HeadMaps& maps, Rows form, bool is_yolox) {
  HeadAnswer answer;
  std::vector<std::uint32_t> strides;
  std::string text;
  for (const MapLevel& level : maps.levels) {
    strides.push_back(static_cast<std::uint32_t>(level.stride));
    text += fmt::format("{}{}", text.empty() ? "" : ", ", level.stride);
    answer.outputs.insert(answer.outputs.end(), {level.box, level.more, level.scores});
  }
  answer.head.spec = grid_head(static_cast<std::uint32_t>(maps.classes), strides);
  for (const OutputMap& map : answer.head.spec.maps) answer.names.emplace_back(map.tensor.view());
  answer.head.basis = HeadBasis::kComputed;
  answer.head.note = fmt::format(
      "{} head: {} classes, strides {}, {} rows of boxes, objectness and scores, as "
      "the model computes them",
      is_yolox ? "YOLOX" : "YOLOX-like", maps.classes, text,
      form == Rows::kRaw ? "raw" : "decoded");
  if (is_yolox) answer.picture = yolox_picture();
  return answer;
}

// --- Rows and pairs ---

// Adds layers to a copy of a network.
class Appender {
 public:
  explicit Appender(const NetworkDefinition& network) : network_(network) {}

  ValueId add(OpType op, std::vector<ValueId> inputs,
              std::map<std::string, Attribute> attributes = {}) {
    Layer layer;
    layer.name = fmt::format("fovea.columns{}", network_.layers.size());
    layer.op = op;
    layer.inputs = std::move(inputs);
    layer.attributes = std::move(attributes);
    const ValueId id = network_.add_value({layer.name, DataType::kFloat32, {}, nullptr});
    layer.outputs = {id};
    network_.layers.push_back(std::move(layer));
    return id;
  }
  ValueId ints(std::int64_t value) {
    return network_.add_constant(fmt::format("fovea.columns.c{}", network_.values.size()),
                                 std::make_shared<const Constant>(Constant::ints({value})));
  }
  // Fields [first, end) of rows.
  ValueId fields(ValueId rows, std::int64_t first, std::int64_t end) {
    return add(OpType::kSlice, {rows, ints(first), ints(end), ints(2), ints(1)});
  }
  ValueId turned(ValueId x) {
    return add(OpType::kTranspose, {x}, {{"perm", std::vector<std::int64_t>{0, 2, 1}}});
  }
  // With one output, which either corners or centres and sizes may be in.
  NetworkDefinition finish(ValueId output) {
    network_.outputs = {output};
    network_.suppression_cut = true;
    return std::move(network_);
  }

 private:
  NetworkDefinition network_;
};

// Boxes and scores in an output each.
struct Pair {
  ValueId boxes = kNoValue;
  ValueId scores = kNoValue;
  bool columns = false;  // scores are [1, classes, anchors]
  std::int64_t anchors = 0;
  std::int64_t classes = 0;
};
std::optional<Pair> pair_of(const HeadQuestion& question) {
  const std::vector<ValueId>& outputs = question.network.outputs;
  if (outputs.size() != 2) return std::nullopt;
  std::optional<Pair> found;
  for (const auto& [boxes, scores] :
       {std::pair(outputs[0], outputs[1]), std::pair(outputs[1], outputs[0])}) {
    const Value& box = question.shaped.value(boxes);
    const Value& score = question.shaped.value(scores);
    if (box.dtype != DataType::kFloat32 || score.dtype != DataType::kFloat32) return std::nullopt;
    if (box.dims.size() != 3 || score.dims.size() != 3 || box.dims[2] != 4) continue;
    const std::int64_t anchors = box.dims[1];
    if (anchors <= 4) continue;
    const bool rows = score.dims[1] == anchors;
    if (!rows && score.dims[2] != anchors) continue;
    // Of four classes either may be the boxes: the names decide, else the order.
    const bool named_scores =
        box.name.find("score") != std::string::npos || box.name.find("cls") != std::string::npos;
    if (found && named_scores) continue;
    if (found && question.shaped.value(found->boxes).name.find("box") != std::string::npos)
      continue;
    if (found && score.name.find("score") == std::string::npos &&
        score.name.find("cls") == std::string::npos) {
      continue;
    }
    found = Pair{boxes, scores, !rows, anchors, score.dims[rows ? 2 : 1]};
  }
  return found;
}

// A copy whose one output is what YOLOv8's would be, [1, 4 + classes, anchors]; nullopt if nothing of
// the model's outputs can be that.
std::optional<NetworkDefinition> as_columns(const HeadQuestion& question) {
  Appender appender(question.network);
  if (const auto pair = pair_of(question)) {
    const ValueId boxes = appender.turned(pair->boxes);
    const ValueId scores = pair->columns ? pair->scores : appender.turned(pair->scores);
    return appender.finish(
        appender.add(OpType::kConcat, {boxes, scores}, {{"axis", std::int64_t{1}}}));
  }
  if (question.network.outputs.size() != 1) return std::nullopt;
  const ValueId rows = question.network.outputs[0];
  const Value& output = question.shaped.value(rows);
  if (output.dtype != DataType::kFloat32 || output.dims.size() != 3 ||
      output.dims[2] <= kRowFields || output.dims[1] <= output.dims[2]) {
    return std::nullopt;
  }
  // The product is the scores only if the objectness is 1.
  const ValueId scores = appender.add(
      OpType::kMul,
      {appender.fields(rows, kRowFields, output.dims[2]), appender.fields(rows, 4, kRowFields)});
  const ValueId all = appender.add(OpType::kConcat, {appender.fields(rows, 0, 4), scores},
                                   {{"axis", std::int64_t{2}}});
  return appender.finish(appender.turned(all));
}

// What the tail between the last convolutions and `output` gives of such maps; nullopt if there are
// none or it cannot be run.
Result<std::optional<Tensor>> tail_output(const NetworkDefinition& network, ValueId output,
                                          float range) {
  const std::vector<ValueId> maps = last_convolutions(network, output);
  if (maps.empty()) return std::optional<Tensor>();
  NetworkDefinition tail = network;
  FOVEA_TRY(keep_between(tail, maps, {output}));
  auto outputs = reference::evaluate(tail, made_up_inputs(tail, range));
  if (!outputs) return std::optional<Tensor>();
  return std::optional<Tensor>(std::move(outputs->begin()->second));
}

// Where in its cell a box lies whose distances are all equal, 0 (the upper left corner) or 0.5 (the
// centre), if every box does and the cells are those of one of the usual sets of strides.
std::optional<float> place_in_cell(const Tensor& boxes, const Dims& input) {
  constexpr std::array<std::pair<std::int64_t, std::int64_t>, 4> kStrides = {
      std::pair(8, 32), std::pair(8, 64), std::pair(4, 32), std::pair(16, 32)};
  for (const auto& [first, last] : kStrides) {
    std::int64_t cells = 0;
    for (std::int64_t s = first; s <= last; s *= 2) cells += (input[2] / s) * (input[3] / s);
    if (cells != boxes.dims[1]) continue;
    for (const float place : {0.0F, 0.5F}) {
      const float* box = boxes.data<float>();
      bool all = true;
      for (std::int64_t s = first; all && s <= last; s *= 2) {
        const std::int64_t width = input[3] / s;
        for (std::int64_t cell = 0; all && cell < width * (input[2] / s); ++cell, box += 4) {
          const auto stride = static_cast<float>(s);
          const float x = (static_cast<float>(cell % width) + place) * stride;
          const float y = (static_cast<float>(cell / width) + place) * stride;
          const float tolerance = 0.01F * stride;
          all = std::abs((box[0] + box[2]) / 2 - x) <= tolerance &&
                std::abs((box[1] + box[3]) / 2 - y) <= tolerance && box[2] >= box[0] &&
                box[3] >= box[1];
        }
      }
      if (all) return place;
    }
  }
  return std::nullopt;
}

bool are_scores(const Tensor& scores) {
  return std::all_of(scores.data<float>(), scores.data<float>() + scores.size(),
                     [](float score) { return score >= 0 && score <= 1; });
}

}  // namespace

Result<HeadAnswer> recognise_grid(const HeadQuestion& question) {
  if (!is_asked(question)) return none();
  const NetworkDefinition& network = question.network;
  if (network.outputs.size() != 1) return none();
  const ValueId output = network.outputs[0];
  const Value& rows = question.shaped.value(output);
  if (rows.dtype != DataType::kFloat32 || rows.dims.size() != 3) {
    return none();
  }
  // As if it were turned: maps of a box, of scores and of one number more.
  const Dims columns = {rows.dims[0], rows.dims[2], rows.dims[1]};
  for (const HeadMaps& head :
       possible_heads(question.shaped, last_convolutions(network, output), columns)) {
    if (head.best || head.reg_max != 1 || head.more_channels != 1) continue;
    FOVEA_ASSIGN(const auto form, form_of(network, head, output));
    if (form) return grid_answer(head, *form, *form == Rows::kRaw || begins_with_focus(network));
  }
  return none();
}

Result<HeadAnswer> recognise_dfl_rows(const HeadQuestion& question) {
  if (!is_asked(question)) return none();
  const auto columns = as_columns(question);
  if (!columns) return none();
  const auto with_dims = with_shapes(*columns);
  if (!with_dims) return none();
  const NetworkDefinition& shaped = *with_dims;
  const ValueId output = columns->outputs[0];
  const Dims& dims = shaped.value(output).dims;
  for (const HeadMaps& head : possible_heads(shaped, last_convolutions(*columns, output), dims)) {
    if (head.best || head.more_channels != 0) continue;
    FOVEA_ASSIGN(const auto reading, proven_reading(*columns, shaped, head, output));
    if (!reading) continue;
    HeadAnswer answer;
    std::vector<std::uint32_t> strides;
    std::string text;
    for (const MapLevel& level : head.levels) {
      strides.push_back(static_cast<std::uint32_t>(level.stride));
      text += fmt::format("{}, ", level.stride);
      answer.outputs.insert(answer.outputs.end(), {level.box, level.scores});
    }
    answer.head.spec = dfl_head(static_cast<std::uint32_t>(head.classes),
                                static_cast<std::uint32_t>(head.reg_max), strides);
    for (const OutputMap& map : answer.head.spec.maps) {
      answer.names.emplace_back(map.tensor.view());
    }
    answer.head.basis = HeadBasis::kComputed;
    answer.head.note =
        fmt::format("DFL head behind {}: {} classes, {} bins, strides {}as the model computes it",
                    question.network.outputs.size() == 1 ? "rows (YOLOv6)" : "boxes and scores",
                    head.classes, head.reg_max, text);
    // PP-YOLOE gives scores by class, and is fed a stretched picture.
    const auto pair = pair_of(question);
    if (pair && pair->columns) answer.picture.resize = ResizeMode::kStretch;
    return answer;
  }
  return none();
}

Result<HeadAnswer> recognise_pair(const HeadQuestion& question) {
  if (!is_asked(question)) return none();
  const auto pair = pair_of(question);
  if (!pair) return none();
  const std::string names =
      fmt::format("'{}' and '{}'", shown(question.shaped.value(pair->boxes).name, 60),
                  shown(question.shaped.value(pair->scores).name, 60));
  FOVEA_ASSIGN(const auto scores, tail_output(question.network, pair->scores, 5));
  if (!scores || !are_scores(*scores)) {
    return none(
        fmt::format("{} have the shapes of boxes and scores, but nothing keeps the latter in "
                    "0..1",
                    names));
  }
  FOVEA_ASSIGN(const auto boxes, tail_output(question.network, pair->boxes, 0));
  std::optional<float> place;
  if (boxes) place = place_in_cell(*boxes, question.shaped.value(question.shaped.inputs[0]).dims);
  if (!place) {
    return none(
        fmt::format("{} have the shapes of boxes and scores, but the boxes are no corners "
                    "around the cells of a grid",
                    names));
  }
  HeadAnswer answer;
  answer.head.spec = pair_head(static_cast<std::uint32_t>(pair->classes),
                               pair->columns ? AnchorAxis::kInnermost : AnchorAxis::kOutermost);
  answer.head.basis = HeadBasis::kComputed;
  const bool damo = *place == 0;
  answer.head.note = fmt::format(
      "{} boxes as corners and scores of {} classes in an output each, as the model computes "
      "them{}",
      pair->anchors, pair->classes, damo ? " (DAMO-YOLO)" : "");
  answer.outputs = {pair->boxes, pair->scores};
  answer.names = {"boxes", "scores"};
  if (damo) {
    answer.picture.range = ValueRange::kBytes;
    answer.picture.resize = ResizeMode::kLetterboxTopLeft;
    answer.picture.border = 0;
  }
  return answer;
}

}  // namespace fovea::engine
