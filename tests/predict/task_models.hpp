// Small models of other tasks than detect, as ONNX files: YOLO26's heads over 64x64 pixels, which find
// the same whatever they see.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/engine/onnx_writer.hpp"

namespace fovea::test {

// What a third convolution gives to every anchor, and how it is decoded.
struct ThirdMap {
  std::string task;
  std::vector<double> values;
};

// Four objects of the second of two classes, 0.9: a cell of stride 32 each, 0.4 cells to every
// side of its centre, so 25.6 pixels wide and high around (16, 16), (48, 16), (16, 48), (48, 48).
class TaskModel {
 public:
  explicit TaskModel(ThirdMap map) : third_(std::move(map)) {
    w_.input("images", {1, 3, 64, 64});
    for (const std::int64_t stride : {8, 16, 32}) {
      const std::string level = std::to_string(stride);
      conv("images", 3, "cells" + level, {0, 0}, stride);
      conv("cells" + level, 2, "box" + level, {0.4, 0.4, 0.4, 0.4});
      conv("cells" + level, 2, "class" + level, {-9, stride == 32 ? 2.1972246 : -9});
      conv("cells" + level, 2, "third" + level, third_.values);
    }
    const std::string box = joined("box", 4);
    const std::string scores = node("Sigmoid", {joined("class", 2)});
    const auto channels = static_cast<std::int64_t>(third_.values.size());
    const std::string third = decoded_third(joined("third", channels), channels);
    const std::vector<std::string> sides = split(box, {2, 2}, 1);
    const std::string boxes =
        third_.task == "obb" ? turned(sides[0], sides[1], third) : upright(sides[0], sides[1]);
    w_.node("Concat", {boxes, scores, third}, {"output0"}, axis(1));
    w_.output("output0");
    if (third_.task == "segment") {
      conv("images", 3, "output1", std::vector<double>(third_.values.size(), 1), 4);
      w_.output("output1");
    }
    w_.metadata("task", third_.task).metadata("names", "{0: 'cat', 1: 'dog'}");
  }

  void save(const std::string& path) const { w_.save(path); }

 private:
  using Attributes = std::map<std::string, engine::Attribute>;
  static constexpr std::int64_t kAnchors = 64 + 16 + 4;

  static Attributes axis(std::int64_t value) { return {{"axis", value}}; }

  std::string fresh() { return "v" + std::to_string(++count_); }
  std::string node(const std::string& op, const std::vector<std::string>& inputs,
                   const Attributes& attributes = {}) {
    const std::string name = fresh();
    w_.node(op, inputs, {name}, attributes);
    return name;
  }
  std::string constant(const engine::Dims& dims, const std::vector<double>& values) {
    const std::string name = fresh();
    w_.floats(name, dims, values);
    return name;
  }
  std::string number(double value) { return constant({1}, {value}); }
  std::string shape(const std::vector<double>& extents) {
    const std::string name = fresh();
    w_.ints(name, extents);
    return name;
  }
  // Whatever it sees, it gives its biases.
  void conv(const std::string& input, std::int64_t channels, const std::string& output,
            const std::vector<double>& biases, std::int64_t stride = 1) {
    const auto outputs = static_cast<std::int64_t>(biases.size());
    const auto count = static_cast<std::size_t>(outputs * channels * stride * stride);
    w_.node("Conv",
            {input, constant({outputs, channels, stride, stride}, std::vector<double>(count, 0.0)),
             constant({outputs}, biases)},
            {output}, {{"strides", std::vector<std::int64_t>{stride, stride}}});
  }
  // The maps of all levels in a row, [1, channels, anchors].
  std::string joined(const std::string& name, std::int64_t channels) {
    std::vector<std::string> levels;
    for (const char* level : {"8", "16", "32"}) {
      levels.push_back(
          node("Reshape", {name + level, shape({1, static_cast<double>(channels), -1})}));
    }
    return node("Concat", levels, axis(2));
  }
  std::vector<std::string> split(const std::string& input, const std::vector<double>& sizes,
                                 std::int64_t along) {
    std::vector<std::string> parts;
    for (std::size_t i = 0; i < sizes.size(); ++i) parts.push_back(fresh());
    w_.node("Split", {input, shape(sizes)}, parts, axis(along));
    return parts;
  }
  // Centres in cells, [1, 2, anchors].
  std::string anchors() {
    std::vector<double> x, y;
    for (const int cells : {8, 4, 2}) {
      for (int i = 0; i < cells * cells; ++i) {
        x.push_back(i % cells + 0.5);
        y.push_back(i / cells + 0.5);
      }
    }
    x.insert(x.end(), y.begin(), y.end());
    return constant({1, 2, kAnchors}, x);
  }
  std::string strides() {
    std::vector<double> all(64, 8);
    all.insert(all.end(), 16, 16);
    all.insert(all.end(), 4, 32);
    return constant({1, kAnchors}, all);
  }
  std::string upright(const std::string& left_top, const std::string& right_bottom) {
    const std::string at = anchors();
    const std::string low = node("Sub", {at, left_top});
    const std::string high = node("Add", {at, right_bottom});
    const std::string centre = node("Div", {node("Add", {low, high}), number(2)});
    const std::string size = node("Sub", {high, low});
    return node("Mul", {node("Concat", {centre, size}, axis(1)), strides()});
  }
  std::string turned(const std::string& left_top, const std::string& right_bottom,
                     const std::string& angle) {
    const std::string off = node("Div", {node("Sub", {right_bottom, left_top}), number(2)});
    const std::vector<std::string> axes = split(off, {1, 1}, 1);
    const std::string cosine = node("Cos", {angle});
    const std::string sine = node("Sin", {angle});
    const std::string x =
        node("Sub", {node("Mul", {axes[0], cosine}), node("Mul", {axes[1], sine})});
    const std::string y =
        node("Add", {node("Mul", {axes[0], sine}), node("Mul", {axes[1], cosine})});
    const std::string centre = node("Add", {node("Concat", {x, y}, axis(1)), anchors()});
    const std::string size = node("Add", {left_top, right_bottom});
    return node("Mul", {node("Concat", {centre, size}, axis(1)), strides()});
  }
  // Of keypoints: in cells from the centre, and a logit.
  std::string decoded_third(const std::string& third, std::int64_t channels) {
    if (third_.task != "pose") return third;
    const auto points = static_cast<double>(channels) / 3;
    const std::string each =
        node("Reshape", {third, shape({1, points, 3, static_cast<double>(kAnchors)})});
    const std::vector<std::string> parts = split(each, {2, 1}, 2);
    const std::string at = node("Mul", {node("Add", {parts[0], anchors()}), strides()});
    const std::string all = node("Concat", {at, node("Sigmoid", {parts[1]})}, axis(2));
    return node("Reshape", {all, shape({1, static_cast<double>(channels), -1})});
  }

  engine::test::OnnxWriter w_;
  ThirdMap third_;
  int count_ = 0;
};

// Pixels of 64x64 pictures: `sky` where they are bright, `ground` where they are dark; as Ultralytics
// exports semantic models.
inline engine::test::OnnxWriter semantic_model() {
  engine::test::OnnxWriter writer;
  writer.input("images", {1, 3, 64, 64});
  std::vector<double> weights(384, 0.0);
  std::fill(weights.begin() + 192, weights.end(), 1.0 / 192);
  writer.floats("weights", {2, 3, 8, 8}, weights);
  writer.floats("bias", {2}, {0.5, 0});
  writer.node("Conv", {"images", "weights", "bias"}, {"logits"},
              {{"strides", std::vector<std::int64_t>{8, 8}}});
  writer.floats("scales", {4}, {1, 1, 8, 8});
  writer.node("Resize", {"logits", "", "scales"}, {"pixels"},
              {{"mode", std::string("linear")},
               {"coordinate_transformation_mode", std::string("half_pixel")}});
  writer.node("ArgMax", {"pixels"}, {"labels"},
              {{"axis", std::int64_t{1}}, {"keepdims", std::int64_t{0}}});
  writer.node("Cast", {"labels"}, {"output0"}, {{"to", std::int64_t{2}}});  // uint8
  writer.output("output0");
  writer.metadata("task", "semantic").metadata("names", "{0: 'ground', 1: 'sky'}");
  return writer;
}

// Distances of 64x64 pictures: 1 m where they are dark, e m where they are bright; as Ultralytics
// exports depth models.
inline engine::test::OnnxWriter depth_model() {
  engine::test::OnnxWriter writer;
  writer.input("images", {1, 3, 64, 64});
  writer.floats("weights", {1, 3, 4, 4}, std::vector<double>(48, 1.0 / 48));
  writer.node("Conv", {"images", "weights"}, {"logarithm"},
              {{"strides", std::vector<std::int64_t>{4, 4}}});
  writer.node("Exp", {"logarithm"}, {"distance"});
  writer.floats("scales", {4}, {1, 1, 4, 4});
  writer.node("Resize", {"distance", "", "scales"}, {"output0"},
              {{"mode", std::string("linear")},
               {"coordinate_transformation_mode", std::string("align_corners")}});
  writer.output("output0");
  writer.metadata("task", "depth").metadata("names", "{0: 'class 0', 1: 'class 1'}");
  return writer;
}

}  // namespace fovea::test
