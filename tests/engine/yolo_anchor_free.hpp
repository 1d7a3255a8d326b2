// What YOLOv8 and 11 share: C2f and the anchor-free heads with their DFL tail. Internal to
// yolo_zoo.cpp.
#pragma once

#include <numbers>

#include "tests/engine/yolo_layers.hpp"

namespace fovea::engine::test {

class AnchorFree : public Layers {
 public:
  using Layers::Layers;

 protected:
  Map c2f(const std::string& path, const Map& x, std::int64_t out, std::int64_t repeats,
          bool shortcut) {
    const auto [a, b] = halves(path, conv(path + "/cv1", x, out));
    std::vector<Map> maps = {a, b};
    for (std::int64_t i = 0; i < repeats; ++i) {
      maps.push_back(bottleneck(fmt::format("{}/m.{}", path, i), maps.back(), maps.back().channels,
                                3, shortcut));
    }
    return conv(path + "/cv2", concat(path, maps), out);
  }

  // Detect, Segment, Pose or OBB. `depthwise`: 11's class branch.
  void head(const std::string& path, const std::vector<Map>& features, const Scale& scale,
            bool depthwise) {
    const Task task = o_.task;
    const std::int64_t bins = 16;
    const std::int64_t box_channels =
        std::max<std::int64_t>({16, features[0].channels / 4, 4 * bins});
    const std::int64_t class_channels =
        std::max(features[0].channels, std::min<std::int64_t>(o_.classes, 100));
    std::vector<Map> levels;
    std::vector<std::string> thirds;
    if (task == Task::kSegment) prototypes(path + "/proto", features[0], scale.channels(256));
    for (std::size_t i = 0; i < features.size(); ++i) {
      // "cv2.0/cv2.0.": the exporter repeats a list's name before that of its members.
      const std::string box = fmt::format("{0}/cv2.{1}/cv2.{1}.", path, i);
      Map b = conv(box + "0", features[i], box_channels, 3);
      b = conv2d(box + "2", conv(box + "1", b, box_channels, 3), 4 * bins);
      const std::string cls = fmt::format("{0}/cv3.{1}/cv3.{1}.", path, i);
      Map c = features[i];
      for (const char* step : {"0", "1"}) {
        if (depthwise) {
          const std::string pair = fmt::format("{}{}/cv3.{}.{}.", cls, step, i, step);
          c = conv(pair + "0", c, c.channels, 3, 1, c.channels);
          c = conv(pair + "1", c, class_channels);
        } else {
          c = conv(cls + step, c, class_channels, 3);
        }
      }
      c = conv2d(cls + "2", c, o_.classes);
      levels.push_back(concat(path, {b, c}));
      if (task == Task::kDetect) continue;
      const std::string more = fmt::format("{0}/cv4.{1}/cv4.{1}.", path, i);
      const std::int64_t more_channels = std::max(features[0].channels / 4, third_channels());
      Map t = conv(more + "0", features[i], more_channels, 3);
      t = conv2d(more + "2", conv(more + "1", t, more_channels, 3), third_channels());
      thirds.push_back(view(path, t.name, {static_cast<double>(t.channels), -1}));
    }
    if (!thirds.empty()) third_ = node(path, "Concat", thirds, {{"axis", std::int64_t{2}}});
    decode(path, levels, o_.grid_of_features ? features : levels, bins);
  }

 private:
  static constexpr std::int64_t kCoefficients = 32;
  static constexpr std::int64_t kPoints = 17;

  std::int64_t third_channels() const {
    if (o_.task == Task::kSegment) return kCoefficients;
    return o_.task == Task::kPose ? 3 * kPoints : 1;
  }

  void prototypes(const std::string& path, const Map& features, std::int64_t channels) {
    Map x = conv(path + "/cv1", features, channels, 3);
    x = doubled(path + "/upsample", x);
    x = conv(path + "/cv3", conv(path + "/cv2", x, channels, 3), kCoefficients);
    writer_.node("Identity", {x.name}, {"output1"});
  }
  // ConvTranspose2d(c, c, 2, 2).
  Map doubled(const std::string& path, const Map& x) {
    const std::int64_t c = x.channels;
    const double range = std::sqrt(3.0 / static_cast<double>(c));
    const std::string name = parameter(path);
    writer_.floats(name + ".weight", {c, c, 2, 2}, noise(c * c * 4, range));
    writer_.floats(name + ".bias", {c}, noise(c, 0.1));
    const std::string y = node(path, "ConvTranspose", {x.name, name + ".weight", name + ".bias"},
                               {{"dilations", Ints{1, 1}},
                                {"group", std::int64_t{1}},
                                {"kernel_shape", Ints{2, 2}},
                                {"pads", Ints{0, 0, 0, 0}},
                                {"strides", Ints{2, 2}}});
    return {y, c, 2 * x.height, 2 * x.width};
  }

  // What the third maps become in output0.
  std::string third(const std::string& path, const std::string& anchors,
                    const std::string& strides) {
    if (o_.task == Task::kSegment) return third_;
    if (o_.task == Task::kObb) {
      const std::string share = node(path, "Sigmoid", {third_});
      const std::string turn = node(path, "Sub", {share, number(path, 0.25)});
      return node(path, "Mul", {turn, number(path, std::numbers::pi)});
    }
    std::string x = view(path, third_, {kPoints, 3, -1});
    const auto parts =
        nodes(path, "Split", {x, ints(path, {2, 1})}, 2, {{"axis", std::int64_t{2}}});
    const std::string twice = node(path, "Mul", {parts[0], number(path, 2)});
    const std::string corner = node(path, "Sub", {anchors, number(path, 0.5)});
    const std::string cells = node(path, "Add", {twice, corner});
    x = node(path, "Concat",
             {node(path, "Mul", {cells, strides}), node(path, "Sigmoid", {parts[1]})},
             {{"axis", std::int64_t{2}}});
    return view(path, x, {static_cast<double>(3 * kPoints), -1});
  }

  // dist2rbox, without the strides.
  std::string turned(const std::string& path, const std::string& left_top,
                     const std::string& right_bottom, const std::string& angle,
                     const std::string& anchors) {
    const std::string twice = node(path, "Sub", {right_bottom, left_top});
    const std::string off = node(path, "Div", {twice, number(path, 2)});
    const auto axes =
        nodes(path, "Split", {off, ints(path, {1, 1})}, 2, {{"axis", std::int64_t{1}}});
    const std::string cosine = node(path, "Cos", {angle});
    const std::string sine = node(path, "Sin", {angle});
    const auto times = [&](const std::string& a, const std::string& b) {
      return node(path, "Mul", {a, b});
    };
    const std::string x = node(path, "Sub", {times(axes[0], cosine), times(axes[1], sine)});
    const std::string y = node(path, "Add", {times(axes[0], sine), times(axes[1], cosine)});
    const std::string centre =
        node(path, "Add", {node(path, "Concat", {x, y}, {{"axis", std::int64_t{1}}}), anchors});
    const std::string size = node(path, "Add", {left_top, right_bottom});
    return node(path, "Concat", {centre, size}, {{"axis", std::int64_t{1}}});
  }
  std::string straight(const std::string& path, const std::string& left_top,
                       const std::string& right_bottom, const std::string& anchors) {
    const std::string low = node(path, "Sub", {anchors, left_top});
    const std::string high = node(path, "Add", {anchors, right_bottom});
    const std::string centre = node(path, "Div", {node(path, "Add", {low, high}), number(path, 2)});
    const std::string size = node(path, "Sub", {high, low});
    return node(path, "Concat", {centre, size}, {{"axis", std::int64_t{1}}});
  }

  // `grids`: of the levels' extents.
  void decode(const std::string& path, const std::vector<Map>& levels,
              const std::vector<Map>& grids, std::int64_t bins) {
    const auto box_rows = static_cast<double>(4 * bins);
    std::vector<std::string> flat;
    for (const Map& level : levels) {
      flat.push_back(view(path, level.name, {static_cast<double>(level.channels), -1}));
    }
    const std::string all = node(path, "Concat", flat, {{"axis", std::int64_t{2}}});
    const auto parts =
        nodes(path, "Split", {all, ints(path, {box_rows, static_cast<double>(o_.classes)})}, 2,
              {{"axis", std::int64_t{1}}});
    const auto [anchors, strides] =
        o_.open_size ? computed_anchors(path, grids) : constant_anchors(path, levels);

    const std::string dfl = path + "/dfl";
    std::string x = view(dfl, parts[0], {4, static_cast<double>(bins), -1});
    x = node(dfl, "Transpose", {x}, {{"perm", Ints{0, 2, 1, 3}}});
    x = node(dfl, "Softmax", {x}, {{"axis", std::int64_t{1}}});
    std::vector<double> steps;
    for (std::int64_t i = 0; i < bins; ++i) steps.push_back(static_cast<double>(i));
    writer_.floats(path + ".dfl.conv.weight", {1, bins, 1, 1}, steps);
    x = node(dfl + "/conv", "Conv", {x, path + ".dfl.conv.weight"},
             {{"dilations", Ints{1, 1}},
              {"group", std::int64_t{1}},
              {"kernel_shape", Ints{1, 1}},
              {"pads", Ints{0, 0, 0, 0}},
              {"strides", Ints{1, 1}}});
    x = view(dfl, x, {4, -1});

    // chunk(2, 1): the exporter computes the middle from the shape.
    const std::string shape = node(path, "Shape", {x});
    std::string middle =
        node(path, "Gather", {shape, ints(path, {1})}, {{"axis", std::int64_t{0}}});
    middle = node(path, "Add", {middle, ints(path, {1})});
    middle = node(path, "Div", {middle, ints(path, {2})});
    const std::string first = node(path, "Mul", {middle, ints(path, {1})});
    const std::string axis = ints(path, {1});
    const std::string left_top = node(path, "Slice", {x, ints(path, {0}), first, axis});
    const std::string second = node(path, "Mul", {middle, ints(path, {2})});
    const std::string right_bottom = node(path, "Slice", {x, first, second, axis});

    const std::string more = third_.empty() ? "" : third(path, anchors, strides);
    const std::string cells = o_.task == Task::kObb
                                  ? turned(path, left_top, right_bottom, more, anchors)
                                  : straight(path, left_top, right_bottom, anchors);
    const std::string boxes = node(path, "Mul", {cells, strides});
    std::vector<std::string> fields = {boxes, node(path, "Sigmoid", {parts[1]})};
    if (!more.empty()) fields.push_back(more);
    writer_.node("Concat", fields, {"output0"}, {{"axis", std::int64_t{1}}},
                 unique("/" + path + "/Concat"));
  }

  std::pair<std::string, std::string> constant_anchors(const std::string& path,
                                                       const std::vector<Map>& levels) {
    std::vector<double> xs;
    std::vector<double> ys;
    std::vector<double> strides;
    for (const Map& level : levels) {
      for (std::int64_t i = 0; i < level.height * level.width; ++i) {
        xs.push_back(static_cast<double>(i % level.width) + 0.5);
        ys.push_back(static_cast<double>(i / level.width) + 0.5);
        strides.push_back(static_cast<double>(o_.height / level.height));
      }
    }
    const auto count = static_cast<std::int64_t>(xs.size());
    xs.insert(xs.end(), ys.begin(), ys.end());
    return {constant(path, OnnxType::kFloat, {1, 2, count}, xs),
            constant(path, OnnxType::kFloat, {1, count}, strides)};
  }

  // make_anchors() in the graph: arange + 0.5, meshgrid, stack; full for the strides.
  std::pair<std::string, std::string> computed_anchors(const std::string& path,
                                                       const std::vector<Map>& levels) {
    std::vector<std::string> points;
    std::vector<std::string> strides;
    for (const Map& level : levels) {
      const std::string h = extent(path, level.name, 2, false);
      const std::string w = extent(path, level.name, 3, false);
      const auto centres = [&](const std::string& limit) {
        const std::string zero = constant(path, OnnxType::kInt64, {}, {0});
        const std::string one = constant(path, OnnxType::kInt64, {}, {1});
        const std::string range = node(path, "Range", {zero, limit, one});
        const std::string cast = node(path, "Cast", {range}, {{"to", std::int64_t{1}}});
        return node(path, "Add", {cast, number(path, 0.5)});
      };
      const std::string sx = centres(w);
      const std::string sy = centres(h);
      const std::string size = node(path, "Concat",
                                    {node(path, "Unsqueeze", {h, ints(path, {0})}),
                                     node(path, "Unsqueeze", {w, ints(path, {0})})},
                                    {{"axis", std::int64_t{0}}});
      const std::string column = node(path, "Reshape", {sy, ints(path, {-1, 1})});
      const std::string last = ints(path, {-1});
      const std::string ys = node(path, "Unsqueeze", {node(path, "Expand", {column, size}), last});
      const std::string xs = node(path, "Unsqueeze", {node(path, "Expand", {sx, size}), last});
      const std::string pairs = node(path, "Concat", {xs, ys}, {{"axis", std::int64_t{-1}}});
      points.push_back(node(path, "Reshape", {pairs, ints(path, {-1, 2})}));
      const std::string cells = node(
          path, "Concat",
          {node(path, "Unsqueeze", {node(path, "Mul", {h, w}), ints(path, {0})}), ints(path, {1})},
          {{"axis", std::int64_t{0}}});
      const auto stride = static_cast<double>(o_.height / level.height);
      strides.push_back(node(path, "Expand", {number(path, stride), cells}));
    }
    std::string anchors = node(path, "Concat", points, {{"axis", std::int64_t{0}}});
    anchors = node(path, "Transpose", {anchors}, {{"perm", Ints{1, 0}}});
    anchors = node(path, "Unsqueeze", {anchors, ints(path, {0})});
    const std::string column = node(path, "Concat", strides, {{"axis", std::int64_t{0}}});
    return {anchors, node(path, "Transpose", {column}, {{"perm", Ints{1, 0}}})};
  }

  std::string third_;  // maps of all levels in a row; empty of Detect
};

}  // namespace fovea::engine::test
