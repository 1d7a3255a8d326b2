// Small networks (64 x 64, strides 8, 16, 32) with the heads of families outside Ultralytics', written
// as their exporters write them.
#pragma once

#include "tests/engine/graph_maker.hpp"

namespace fovea::engine::test {

struct FamilySpelling {
  std::int64_t classes = 3;
  std::int64_t reg_max = 5;    // of distributions
  bool decoded = false;        // YOLOX: --decode_in_inference
  bool focus = true;           // YOLOX: takes the picture apart first
  bool score_columns = false;  // pairs: [1, classes, anchors]
  float cell_offset = 0.5F;    // pairs: where a cell's boxes begin
  bool scores_first = false;   // pairs: the order of outputs
  bool raw_scores = false;
  float objectness = 1;  // YOLOv6's constant
  float grid_error = 0;  // decodings that are not the family's
};

class FamilyHeadMaker {
 public:
  explicit FamilyHeadMaker(const FamilySpelling& spelling) : s_(spelling) {}

  // `output` [1, 84, 5 + classes].
  NetworkDefinition yolox() {
    begin(s_.focus);
    std::vector<ValueId> levels;
    for (const std::int64_t stride : {8, 16, 32}) {
      const ValueId features = features_at(stride);
      const std::vector<ValueId> parts = {
          g_.conv(features, 6, 4), g_.add(OpType::kSigmoid, {g_.conv(features, 6, 1)}),
          g_.add(OpType::kSigmoid, {g_.conv(features, 6, s_.classes)})};
      levels.push_back(flat(g_.add(OpType::kConcat, parts, axis(1)), 5 + s_.classes));
    }
    ValueId rows = turned(g_.add(OpType::kConcat, levels, axis(2)));
    if (s_.decoded) {
      const ValueId xy =
          g_.add(OpType::kMul,
                 {g_.add(OpType::kAdd, {fields(rows, 0, 2), grid(s_.grid_error)}), strides()});
      const ValueId wh =
          g_.add(OpType::kMul, {g_.add(OpType::kExp, {fields(rows, 2, 4)}), strides()});
      rows = g_.add(OpType::kConcat, {xy, wh, fields(rows, 4, 5 + s_.classes)}, axis(2));
    }
    return finish({rows}, {"output"});
  }

  // `outputs` [1, 84, 5 + classes]: centre, size, an objectness that is constant, scores.
  NetworkDefinition yolov6() {
    begin(false);
    decode_distributions();
    const ValueId left_top = g_.add(OpType::kSub, {grid(0.5F), fields(sides_, 0, 2)});
    const ValueId right_bottom = g_.add(OpType::kAdd, {grid(0.5F), fields(sides_, 2, 4)});
    const ValueId centre =
        g_.add(OpType::kDiv, {g_.add(OpType::kAdd, {left_top, right_bottom}), number(2)});
    const ValueId size = g_.add(OpType::kSub, {right_bottom, left_top});
    const ValueId boxes =
        g_.add(OpType::kMul, {g_.add(OpType::kConcat, {centre, size}, axis(2)), strides()});
    const ValueId ones = g_.constant(floats(
        {1, kAnchors, 1}, std::vector<float>(static_cast<std::size_t>(kAnchors), s_.objectness)));
    return finish({g_.add(OpType::kConcat, {boxes, ones, scores_}, axis(2))}, {"outputs"});
  }

  // Boxes [1, 84, 4] as corners, and scores: YOLO-NAS, DAMO-YOLO (cell_offset 0), PP-YOLOE.
  NetworkDefinition pair() {
    begin(false);
    decode_distributions();
    const ValueId left_top = g_.add(OpType::kSub, {grid(s_.cell_offset), fields(sides_, 0, 2)});
    const ValueId right_bottom = g_.add(OpType::kAdd, {grid(s_.cell_offset), fields(sides_, 2, 4)});
    const ValueId boxes = g_.add(
        OpType::kMul, {g_.add(OpType::kConcat, {left_top, right_bottom}, axis(2)), strides()});
    const ValueId scores = s_.score_columns ? turned(scores_) : scores_;
    if (s_.scores_first) return finish({scores, boxes}, {"scores", "boxes"});
    return finish({boxes, scores}, {"boxes", "scores"});
  }

 private:
  static constexpr std::int64_t kAnchors = 64 + 16 + 4;

  static std::map<std::string, Attribute> axis(std::int64_t value) { return {{"axis", value}}; }
  ValueId number(float value) { return g_.constant(floats({}, {value})); }

  ValueId slice(ValueId x, std::int64_t first, std::int64_t end, std::int64_t of,
                std::int64_t step = 1) {
    return g_.add(OpType::kSlice, {x, g_.constant(ints({first})), g_.constant(ints({end})),
                                   g_.constant(ints({of})), g_.constant(ints({step}))});
  }
  ValueId fields(ValueId rows, std::int64_t first, std::int64_t end) {
    return slice(rows, first, end, 2);
  }
  ValueId turned(ValueId x) {
    return g_.add(OpType::kTranspose, {x}, {{"perm", std::vector<std::int64_t>{0, 2, 1}}});
  }
  ValueId flat(ValueId map, std::int64_t channels) {
    return g_.add(OpType::kReshape, {map, g_.constant(ints({0, channels, -1}))});
  }

  void begin(bool focus) {
    picture_ = g_.input("images", {1, 3, 64, 64});
    channels_ = 3;
    scale_ = 1;
    if (!focus) return;
    std::vector<ValueId> parts;
    for (std::int64_t i = 0; i < 4; ++i) {
      const ValueId rows = slice(picture_, i % 2, 1 << 20, 2, 2);
      parts.push_back(slice(rows, i / 2, 1 << 20, 3, 2));
    }
    picture_ = g_.add(OpType::kConcat, parts, axis(1));
    channels_ = 12;
    scale_ = 2;
  }
  ValueId features_at(std::int64_t stride) {
    return g_.silu(g_.conv(picture_, channels_, 6, stride / scale_, stride / scale_));
  }

  // sides_ [1, 84, 4] in cells, scores_ [1, 84, classes].
  void decode_distributions() {
    std::vector<ValueId> boxes;
    std::vector<ValueId> scores;
    for (const std::int64_t stride : {8, 16, 32}) {
      const ValueId features = features_at(stride);
      boxes.push_back(flat(g_.conv(features, 6, 4 * s_.reg_max), 4 * s_.reg_max));
      ValueId score = g_.conv(features, 6, s_.classes);
      if (!s_.raw_scores) score = g_.add(OpType::kSigmoid, {score});
      scores.push_back(flat(score, s_.classes));
    }
    scores_ = turned(g_.add(OpType::kConcat, scores, axis(2)));
    const ValueId all = turned(g_.add(OpType::kConcat, boxes, axis(2)));
    const ValueId bins =
        g_.add(OpType::kReshape, {all, g_.constant(ints({1, kAnchors, 4, s_.reg_max}))});
    std::vector<float> project;
    for (std::int64_t i = 0; i < s_.reg_max; ++i) project.push_back(static_cast<float>(i));
    const ValueId mean = g_.add(OpType::kMatMul, {g_.add(OpType::kSoftmax, {bins}, axis(3)),
                                                  g_.constant(floats({s_.reg_max, 1}, project))});
    sides_ = g_.add(OpType::kReshape, {mean, g_.constant(ints({1, kAnchors, 4}))});
  }

  // [1, 84, 2] in cells.
  ValueId grid(float offset) {
    std::vector<float> cells;
    for (const std::int64_t size : {8, 4, 2}) {
      for (std::int64_t i = 0; i < size * size; ++i) {
        cells.push_back(static_cast<float>(i % size) + offset);
        cells.push_back(static_cast<float>(i / size) + offset);
      }
    }
    return g_.constant(floats({1, kAnchors, 2}, cells));
  }
  ValueId strides() {
    std::vector<float> strides;
    for (const auto& [count, stride] :
         {std::pair(64, 8.0F), std::pair(16, 16.0F), std::pair(4, 32.0F)}) {
      strides.insert(strides.end(), static_cast<std::size_t>(count), stride);
    }
    return g_.constant(floats({1, kAnchors, 1}, strides));
  }

  NetworkDefinition finish(const std::vector<ValueId>& outputs,
                           const std::vector<std::string>& names) {
    NetworkDefinition network = g_.finish(outputs);
    for (std::size_t i = 0; i < outputs.size(); ++i) network.value(outputs[i]).name = names[i];
    return network;
  }

  FamilySpelling s_;
  GraphMaker g_;
  ValueId picture_ = kNoValue;
  std::int64_t channels_ = 3;
  std::int64_t scale_ = 1;
  ValueId sides_ = kNoValue;
  ValueId scores_ = kNoValue;
};

}  // namespace fovea::engine::test
