#include "nodes/detector/engine/head_check.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>

#include <fmt/core.h>

#include "nodes/detector/engine/painted_picture.hpp"

namespace fovea::engine {

namespace {

struct Range {
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();

  void add(float value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  float span() const { return high - low; }
};

// The maps of a head whose anchors lie decoded in the engine's one output; no box for another head.
struct DecodedMaps {
  const OutputMap* box = nullptr;
  const OutputMap* scores = nullptr;
  const OutputMap* objectness = nullptr;  // may be absent
};
DecodedMaps decoded_maps(const EngineInfo& info) {
  const HeadSpec& spec = info.head.spec;
  const DecodedMaps maps{spec.find(OutputRole::kBox), spec.find(OutputRole::kClassScore),
                         spec.find(OutputRole::kObjectness)};
  if (maps.box == nullptr || maps.scores == nullptr || maps.box->channels != 4) return {};
  if (spec.find(OutputRole::kClassIndex) != nullptr) return {};
  if (info.outputs.size() != 1 || info.outputs[0].dims.size() != 2) return {};
  for (const OutputMap* map : {maps.box, maps.scores, maps.objectness}) {
    if (map != nullptr && (map->encoding != OutputEncoding::kDecoded || map->stride != 0 ||
                           map->tensor.view() != info.outputs[0].name)) {
      return {};
    }
  }
  const std::size_t channels = maps.box->anchors == AnchorAxis::kInnermost ? 0 : 1;
  const auto needed = static_cast<std::int64_t>(spec.channels_of(info.outputs[0].name));
  return info.outputs[0].dims[channels] >= needed ? maps : DecodedMaps{};
}

// One output as anchors with fields, whichever way it lies.
class Anchors {
 public:
  Anchors(const EngineInfo& info, const OutputMap& box, std::span<const float> values)
      : values_(values),
        columns_(box.anchors == AnchorAxis::kInnermost),
        count_(static_cast<std::size_t>(info.outputs[0].dims[columns_ ? 1 : 0])),
        fields_(static_cast<std::size_t>(info.outputs[0].dims[columns_ ? 0 : 1])) {}

  std::size_t count() const { return count_; }
  std::size_t fields() const { return fields_; }
  float at(std::size_t anchor, std::size_t field) const {
    return values_[columns_ ? field * count_ + anchor : anchor * fields_ + field];
  }
  Range range(std::size_t first, std::size_t count) const {
    Range range;
    for (std::size_t field = first; field < first + count; ++field) {
      for (std::size_t a = 0; a < count_; ++a) range.add(at(a, field));
    }
    return range;
  }
  template <class Predicate>
  bool all(Predicate predicate) const {
    for (std::size_t a = 0; a < count_; ++a) {
      if (!predicate(a)) return false;
    }
    return true;
  }

 private:
  std::span<const float> values_;
  bool columns_;
  std::size_t count_;
  std::size_t fields_;
};

// Suppression leaves a list by falling score; a grid has no reason to be in order.
bool sorted_by_score(const Anchors& anchors, std::size_t score) {
  if (anchors.count() < 16) return false;
  for (std::size_t a = 1; a < anchors.count(); ++a) {
    if (anchors.at(a, score) > anchors.at(a - 1, score)) return false;
  }
  return anchors.range(score, 1).span() > 0;
}

// Corners in place of centre and size: every second pair is beyond the first, as sizes of boxes in
// the right and lower part of a picture are not.
bool are_corners(const Anchors& anchors, std::size_t box, float width, float height) {
  const bool beyond = anchors.all([&](std::size_t a) {
    return anchors.at(a, box + 2) >= anchors.at(a, box) &&
           anchors.at(a, box + 3) >= anchors.at(a, box + 1);
  });
  const Range right = anchors.range(box + 2, 1);
  const Range bottom = anchors.range(box + 3, 1);
  return beyond && right.high <= 1.5F * width && bottom.high <= 1.5F * height &&
         right.high > width / 2 && bottom.high > height / 2;
}

// Of rows of the best boxes, in the engine's first output: scores and class numbers.
std::string doubt_of_rows(const HeadSpec& spec, std::span<const float> output) {
  const std::size_t fields = spec.channels_of(spec.find(OutputRole::kBox)->tensor.view());
  const std::size_t score = spec.find(OutputRole::kClassScore)->first_channel;
  const OutputMap& index = *spec.find(OutputRole::kClassIndex);
  for (std::size_t row = 0; row + fields <= output.size(); row += fields) {
    if (!(output[row + score] >= 0 && output[row + score] <= 1.001F)) {
      return fmt::format("row {} has {:.4g} as its score in place of 0..1", row / fields,
                         output[row + score]);
    }
    const float number = output[row + index.first_channel];
    if (!(number >= 0 && number < static_cast<float>(index.classes)) ||
        number != std::floor(number)) {
      return fmt::format("row {} has {:.4g} as its class number; there are {} classes",
                         row / fields, number, index.classes);
    }
  }
  return {};
}

bool are_rows(const EngineInfo& info) {
  const HeadSpec& spec = info.head.spec;
  return spec.find(OutputRole::kClassIndex) != nullptr && spec.find(OutputRole::kBox) != nullptr &&
         spec.find(OutputRole::kClassScore) != nullptr && !info.outputs.empty() &&
         info.outputs[0].name == spec.find(OutputRole::kBox)->tensor.view();
}

}  // namespace

std::string doubt_of_output(const EngineInfo& info, std::span<const float> output) {
  if (are_rows(info)) return doubt_of_rows(info.head.spec, output);
  const DecodedMaps maps = decoded_maps(info);
  if (maps.box == nullptr) return {};
  const bool finite = std::all_of(output.begin(), output.end(), [](float v) { return std::isfinite(v); });
  if (!finite) return "it gives NaN or infinity";
  const Anchors anchors(info, *maps.box, output);
  const std::size_t box = maps.box->first_channel;
  Range scores = anchors.range(maps.scores->first_channel, maps.scores->channels);
  if (maps.objectness != nullptr) {
    const Range objectness = anchors.range(maps.objectness->first_channel, 1);
    scores.add(objectness.low);
    scores.add(objectness.high);
  }
  constexpr float kRounding = 1e-3F;
  if (scores.low < -kRounding || scores.high > 1 + kRounding) {
    return fmt::format("what would be scores reaches from {:.4g} to {:.4g} in place of 0..1",
                       scores.low, scores.high) +
           (scores.low < 0 ? ": a sigmoid is missing, or they are no scores"
                           : ": they are no scores, but class numbers perhaps");
  }
  const Range sizes = anchors.range(box + 2, 2);
  if (sizes.low < -1) {
    return fmt::format("what would be widths and heights reaches down to {:.4g}: the rows still "
                       "want decoding (YOLOX: --decode_in_inference)",
                       sizes.low);
  }
  if (maps.objectness != nullptr && sorted_by_score(anchors, maps.objectness->first_channel)) {
    return "its rows are in the order of their scores: a list of detections after suppression";
  }
  const auto width = static_cast<float>(info.input.dims[1]);
  const auto height = static_cast<float>(info.input.dims[0]);
  const Range x = anchors.range(box, 1);
  const Range y = anchors.range(box + 1, 1);
  if (x.span() < width / 2 || y.span() < height / 2) {
    const bool normalised = x.low > -0.5F && x.high < 1.5F && y.low > -0.5F && y.high < 1.5F;
    return fmt::format(
        "the centres of its {} boxes lie in {:.4g}..{:.4g} x {:.4g}..{:.4g}, where those of a head in "
        "pixels cover the input of {}x{}: {}",
        anchors.count(), x.low, x.high, y.low, y.high, width, height,
        normalised ? "they are normalised, or rows that still want decoding"
                   : "rows that still want decoding, or detections after suppression");
  }
  if (are_corners(anchors, box, width, height)) {
    return "its boxes are two corners (x1, y1, x2, y2) in place of centre and size";
  }
  return {};
}

Result<std::string> doubt_of_head(const Engine& engine) {
  const EngineInfo& info = engine.info();
  if (decoded_maps(info).box == nullptr && !are_rows(info)) return std::string();
  FOVEA_ASSIGN(const auto context, engine.create_execution_context());
  FOVEA_ASSIGN(const Bindings bindings, engine.make_bindings());
  const std::span<std::byte> input = bindings.input();
  for (const bool coloured : {false, true}) {
    std::fill(input.begin(), input.end(), std::byte{114});
    if (coloured) paint(input, static_cast<std::size_t>(info.input.dims[1]));
    FOVEA_TRY(context->execute(bindings.batch()));
    const std::span<const float> output(reinterpret_cast<const float*>(bindings.output(0).data()),
                                        info.outputs[0].bytes / sizeof(float));
    if (std::string doubt = doubt_of_output(info, output); !doubt.empty()) return doubt;
  }
  return std::string();
}

}  // namespace fovea::engine
