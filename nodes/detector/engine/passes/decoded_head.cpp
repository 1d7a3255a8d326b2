// Heads that are not cut off: columns as YOLOv8 gives them, rows as YOLOv5 does. Both recognisers
// read the output in the same way and take their own.
#include <algorithm>
#include <optional>
#include <string>

#include <fmt/core.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/passes/head_recognisers.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

constexpr std::int64_t kColumnFields = 4;  // of YOLOv8: cx, cy, w, h
constexpr std::int64_t kRowFields = 5;     // of YOLOv5: cx, cy, w, h, objectness

constexpr std::string_view kSayWhich =
    "head (--head of `fovea engine`) says which head it is: yolov8, yolov5, rows or none";

constexpr std::string_view kSuppressed =
    "rows of six are what suppression inside a model leaves; metadata with a task and class names "
    "would say so, or head rows; or export it without (Ultralytics: end2end=False, or from 8.4.190 "
    "on without nms)";

// Cells of a grid per stride, summed over the usual sets of strides; empty if the count is that of
// none. A head with three anchors per cell has three times as many.
struct Grid {
  std::string strides;
  std::int64_t per_cell = 0;
  bool several = false;  // strides: that a count fits them by chance is unlikely
};
std::optional<Grid> grid_of(const Dims& input, std::int64_t anchors) {
  struct Set {
    std::int64_t first;
    std::int64_t last;
    std::string_view text;
  };
  constexpr std::array kSets = {Set{8, 32, "8, 16, 32"},    Set{8, 64, "8, 16, 32, 64"},
                                Set{4, 32, "4, 8, 16, 32"}, Set{16, 32, "16, 32"},
                                Set{8, 16, "8, 16"},        Set{8, 8, "8"},
                                Set{16, 16, "16"},          Set{32, 32, "32"}};
  if (input.size() != 4) return std::nullopt;
  for (const Set& set : kSets) {
    std::int64_t cells = 0;
    for (std::int64_t stride = set.first; stride <= set.last; stride *= 2) {
      cells += (input[2] / stride) * (input[3] / stride);
    }
    for (const std::int64_t per_cell : {1, 3}) {
      if (cells > 0 && anchors == per_cell * cells) return Grid{std::string(set.text), per_cell, set.last > set.first};
    }
  }
  return std::nullopt;
}

HeadInfo no_head(std::string why) {
  HeadInfo head;
  head.note = std::move(why);
  return head;
}

HeadInfo columns(const Dims& output) {
  HeadInfo head;
  head.spec = decoded_head(static_cast<std::uint32_t>(output[1] - kColumnFields));
  return head;
}

HeadInfo rows(const Dims& output) {
  HeadInfo head;
  head.spec = objectness_head(static_cast<std::uint32_t>(output[2] - kRowFields));
  return head;
}

bool is_columns(const HeadInfo& head) {
  return head.known() && head.spec.find(OutputRole::kObjectness) == nullptr;
}

std::string described(const HeadInfo& head) {
  return is_columns(head)
             ? fmt::format(
                   "YOLOv8's columns (cx, cy, w, h in pixels, then {} class scores of 0..1)",
                   head.classes())
             : fmt::format(
                   "YOLOv5's rows (cx, cy, w, h in pixels, objectness, then {} class "
                   "scores of 0..1)",
                   head.classes());
}

std::string shape_of(const NetworkDefinition& shaped) {
  const Value& output = shaped.value(shaped.outputs.front());
  return fmt::format("'{}' is {}", shown(output.name, 60), to_string(output.dims));
}

Result<HeadInfo> stated_head(const NetworkDefinition& shaped, std::string_view stated) {
  const Dims& output = shaped.value(shaped.outputs.front()).dims;
  const bool as_columns = stated == kYolov8Head;
  if (output.size() != 3 || output[as_columns ? 1 : 2] <= (as_columns ? kColumnFields : kRowFields)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("head is {}, which gives {}; the model's output {}", stated,
                            as_columns ? "[1, 4 + classes, anchors]" : "[1, anchors, 5 + classes]",
                            shape_of(shaped)));
  }
  const auto grid = grid_of(shaped.value(shaped.inputs.front()).dims, output[as_columns ? 1 : 2]);
  const bool transposed =
      output[as_columns ? 2 : 1] <= (as_columns ? kColumnFields : kRowFields) ||
      (grid && !grid_of(shaped.value(shaped.inputs.front()).dims, output[as_columns ? 2 : 1]));
  if (transposed) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("head is {}, which gives {}; the model's output {}, the other way round",
                            stated,
                            as_columns ? "[1, 4 + classes, anchors]" : "[1, anchors, 5 + classes]",
                            shape_of(shaped)));
  }
  HeadInfo head = as_columns ? columns(output) : rows(output);
  head.basis = HeadBasis::kStated;
  head.note = fmt::format("{}, as stated", described(head));
  return head;
}

// What the shape alone allows. More anchors than fields, or it would be the other way round.
HeadInfo by_shape(const Dims& output) {
  if (output[1] > kColumnFields && output[2] > output[1]) return columns(output);
  if (output[2] > kRowFields && output[1] > output[2]) return rows(output);
  return {};
}

tl::unexpected<Error> refused(const NetworkDefinition& shaped, const std::string& why) {
  return fail(ErrorCode::kUnsupported,
              fmt::format("no metadata says what the outputs mean, and {}: {}; {}",
                          shape_of(shaped), why, kSayWhich));
}

// No metadata, only a shape: a guess, which must be said, and must not be made against evidence.
Result<HeadInfo> assumed_head(const NetworkDefinition& network, const NetworkDefinition& shaped) {
  const Dims& output = shaped.value(shaped.outputs.front()).dims;
  const Dims& input = shaped.value(shaped.inputs.front()).dims;
  HeadInfo head = by_shape(output);
  if (!head.known()) {
    return no_head(fmt::format("{}, no detector's output that Fovea knows", shape_of(shaped)));
  }
  const bool as_columns = is_columns(head);
  const auto grid = grid_of(input, as_columns ? output[2] : output[1]);
  if (!as_columns && !(grid && grid->several) && output[2] == kRowFields + 1) {
    return refused(shaped, std::string(kSuppressed));
  }
  if (network.outputs.size() > 1) {
    return refused(shaped,
                   fmt::format("it would be {}, but the model has {} outputs where that has one "
                               "(a segmentation, SSD-like or other head)",
                               described(head), network.outputs.size()));
  }
  if (grid && as_columns && grid->several && grid->per_cell == 3) {
    return refused(shaped,
                   fmt::format("it would be {}, but {} columns are three anchors per cell: YOLOv5's "
                               "rows, transposed",
                               described(head), output[2]));
  }
  head.basis = HeadBasis::kAssumed;
  std::string strides = grid ? fmt::format("strides {}", grid->strides)
                             : fmt::format("strides unknown ({} anchors)",
                                           as_columns ? output[2] : output[1]);
  head.note = fmt::format("{}, assumed from the shape", described(head));
  std::string warning = fmt::format(
      "no metadata says what the outputs mean; assumed: {} and holds {}, {}; input RGB, scaled to 0..1; "
      "classes are called class_0 and so on",
      shape_of(shaped), described(head), strides);
  if (grid && !as_columns && grid->per_cell == 1) {
    warning += fmt::format("; one anchor per cell, so it may as well be YOLOv8's {} classes "
                           "transposed",
                           output[2] - kColumnFields);
  }
  head.warnings.push_back(fmt::format("{}; {}", warning, kSayWhich));
  return head;
}

// What the one output is, or a note why it is neither columns nor rows.
Result<HeadInfo> read_output(const NetworkDefinition& network, const NetworkDefinition& shaped,
                             std::string_view stated) {
  if (stated == kYolov8Head || stated == kYolov5Head) return stated_head(shaped, stated);
  const auto task = network.metadata.find("task");
  if (task != network.metadata.end() && task->second != "detect") {
    return no_head(other_task(task->second));
  }
  const Dims& output = shaped.value(shaped.outputs.front()).dims;
  if (output.size() != 3) {
    return no_head(fmt::format("{}; a detector's is [1, 4 + classes, anchors] or [1, anchors, 5 + "
                               "classes]",
                               shape_of(shaped)));
  }
  const auto names = static_cast<std::int64_t>(network.class_names.size());
  if (stated == kRowsHead) return no_head("another head is stated");
  if (names == 0 && task == network.metadata.end()) return assumed_head(network, shaped);

  HeadInfo head;
  if (names > 0 && output[1] == kColumnFields + names) {
    head = columns(output);
  } else if (names > 0 && output[2] == kRowFields + names) {
    head = rows(output);
  }
  // 79 names and 84 columns are YOLOv8's with a name missing as well as YOLOv5's rows, transposed:
  // the number of anchors per cell tells them apart.
  const Dims& input = shaped.value(shaped.inputs.front()).dims;
  const auto three_per_cell = [&](std::int64_t anchors) {
    const auto grid = grid_of(input, anchors);
    return grid && grid->several && grid->per_cell == 3;
  };
  const bool transposed =
      names > 0 && ((output[2] == kColumnFields + names && !three_per_cell(output[1])) ||
                    (output[1] == kRowFields + names && three_per_cell(output[2])));
  const bool suppressed = output[2] == kRowFields + 1;
  const HeadInfo shape_says = by_shape(output);
  if (!head.known() && task != network.metadata.end() && !transposed && !suppressed &&
      network.outputs.size() == 1) {
    head = shape_says;  // it says that it detects: the shape is trusted more than a list of names
  }
  if (!head.known()) {
    std::string why = fmt::format("{}, which is no detect head of {} classes", shape_of(shaped),
                                  names);
    if (transposed) {
      why += "; it is transposed";
    } else if (suppressed) {
      why += fmt::format("; {}", kSuppressed);
    } else if (shape_says.known()) {
      why += fmt::format("; it has room for {} classes and the metadata name {}",
                         shape_says.classes(), names);
    }
    return no_head(fmt::format("{}; {}", why, kSayWhich));
  }
  head.basis = HeadBasis::kMetadata;
  head.note = fmt::format("{}, by the metadata", described(head));
  return head;
}

HeadAnswer taken(HeadInfo head, const HeadQuestion& question) {
  return {std::move(head), {question.network.outputs.front()}, {"output0"}, {}};
}

Result<HeadAnswer> recognise(const HeadQuestion& question, bool as_columns) {
  HeadAnswer answer;
  if (question.network.suppression_cut) {
    answer.why_not = "it suppresses boxes itself, and nothing proves what that reads";
    return answer;
  }
  const Value& output = question.shaped.value(question.network.outputs.front());
  if (output.dtype != DataType::kFloat32) {
    answer.why_not = no_numbers(question.network, output);
    return answer;
  }
  FOVEA_ASSIGN(HeadInfo head, read_output(question.network, question.shaped, question.stated));
  if (head.known() && is_columns(head) == as_columns) return taken(std::move(head), question);
  answer.why_not = head.known() ? fmt::format("it is {}", described(head)) : std::move(head.note);
  return answer;
}

}  // namespace

Result<HeadAnswer> recognise_decoded(const HeadQuestion& question) {
  if (question.keep_output0) {
    FOVEA_ASSIGN(Columns columns, columns_of(question));
    if (!columns.why_not.empty()) return HeadAnswer{{}, {}, {}, std::move(columns.why_not)};
    if (columns.classes > 0) {
      HeadInfo head;
      head.spec = decoded_head(columns.classes);
      head.basis = HeadBasis::kComputed;
      head.note =
          fmt::format("YOLOv8's columns, {} classes, as the model computes it", columns.classes);
      return taken(std::move(head), question);
    }
  }
  return recognise(question, true);
}

Result<HeadAnswer> recognise_objectness(const HeadQuestion& question) {
  return recognise(question, false);
}

}  // namespace fovea::engine
