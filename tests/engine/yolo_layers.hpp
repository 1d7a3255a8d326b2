// What the YOLO families have in common: scales, and the modules that all of them write. Internal
// to yolo_zoo.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tests/engine/yolo_zoo.hpp"

namespace fovea::engine::test {

using Ints = std::vector<std::int64_t>;

// How a family grows: repeats times depth, channels times width.
struct Scale {
  double depth;
  double width;
  std::int64_t max_channels;

  std::int64_t repeats(std::int64_t n) const {
    return std::max<std::int64_t>(1, std::llround(static_cast<double>(n) * depth));
  }
  std::int64_t channels(std::int64_t n) const {
    const double scaled = static_cast<double>(std::min(n, max_channels)) * width;
    return static_cast<std::int64_t>(std::ceil(scaled / 8)) * 8;
  }
};

inline Scale scale_of(YoloModel model) {
  switch (model) {
    case YoloModel::kV8n:
    case YoloModel::kV5n:
      break;
    case YoloModel::kV8s:
    case YoloModel::kV5s:
      return {0.33, 0.50, 1024};
    case YoloModel::kV8m:
      return {0.67, 0.75, 768};
    case YoloModel::kV5m:
      return {0.67, 0.75, 1024};
    case YoloModel::kV11n:
      return {0.50, 0.25, 1024};
    case YoloModel::kV11s:
      return {0.50, 0.50, 1024};
    case YoloModel::kV11m:
      return {0.50, 1.00, 512};
  }
  return {0.33, 0.25, 1024};
}

// A feature map: the name of its tensor and its shape without the batch.
struct Map {
  std::string name;
  std::int64_t channels = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
};

// Writes the modules that all families share.
class Layers {
 public:
  Layers(const YoloOptions& options) : o_(options), writer_(options.opset), state_(options.seed) {}

 protected:
  // --- single nodes; `path` is a PyTorch module, "model.2/m.0" -----------------------------------

  // A node of `path`, the exporter's way: "/model.2/Concat", then "/model.2/Concat_1", ...
  std::vector<std::string> nodes(const std::string& path, const std::string& op,
                                 const std::vector<std::string>& inputs, std::size_t outputs,
                                 const std::map<std::string, Attribute>& attributes = {}) {
    const std::string name = unique("/" + path + "/" + op);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < outputs; ++i) names.push_back(fmt::format("{}_output_{}", name, i));
    writer_.node(op, inputs, names, attributes, name);
    return names;
  }
  std::string node(const std::string& path, const std::string& op,
                   const std::vector<std::string>& inputs,
                   const std::map<std::string, Attribute>& attributes = {}) {
    return nodes(path, op, inputs, 1, attributes)[0];
  }
  std::string constant(const std::string& path, OnnxType type, const Dims& dims,
                       const std::vector<double>& values) {
    const std::string name = unique("/" + path + "/Constant") + "_output_0";
    writer_.node_with_tensor("Constant", {}, name, "value", {"", type, dims, values});
    return name;
  }
  std::string ints(const std::string& path, const std::vector<double>& values) {
    return constant(path, OnnxType::kInt64, {static_cast<std::int64_t>(values.size())}, values);
  }
  std::string number(const std::string& path, double value) {
    return constant(path, OnnxType::kFloat, {}, {value});
  }
  std::string unique(const std::string& base) {
    const int used = used_[base]++;
    return used == 0 ? base : fmt::format("{}_{}", base, used);
  }

  // x.view(batch, extents...).
  std::string view(const std::string& path, const std::string& x, std::vector<double> extents) {
    if (o_.batch != -1) {
      extents.insert(extents.begin(), static_cast<double>(o_.batch));
      return node(path, "Reshape", {x, ints(path, extents)}, {{"allowzero", std::int64_t{0}}});
    }
    std::vector<std::string> parts = {extent(path, x, 0, true)};
    for (const double e : extents) parts.push_back(ints(path, {e}));
    return node(path, "Reshape", {x, node(path, "Concat", parts, {{"axis", std::int64_t{0}}})},
                {{"allowzero", std::int64_t{0}}});
  }
  // x.shape[axis], as a scalar or with one axis.
  std::string extent(const std::string& path, const std::string& x, int axis, bool unsqueezed) {
    const std::string shape = node(path, "Shape", {x});
    const std::string index = constant(path, OnnxType::kInt64, {}, {static_cast<double>(axis)});
    const std::string value = node(path, "Gather", {shape, index}, {{"axis", std::int64_t{0}}});
    return unsqueezed ? node(path, "Unsqueeze", {value, ints(path, {0})}) : value;
  }

  // A module's name in PyTorch: "model.22/cv2.0/cv2.0.1/conv" is model.22.cv2.0.1.conv.
  static std::string parameter(const std::string& path) {
    std::string name;
    for (std::size_t from = 0; from < path.size();) {
      const std::size_t to = std::min(path.find('/', from), path.size());
      const std::string part = path.substr(from, to - from);
      from = to + 1;
      if (from < path.size() && path.compare(from, part.size() + 1, part + ".") == 0) continue;
      name += (name.empty() ? "" : ".") + part;
    }
    return name;
  }

  // --- modules -----------------------------------------------------------------------------------

  // nn.Conv2d with bias.
  Map conv2d(const std::string& path, const Map& x, std::int64_t out, std::int64_t kernel = 1,
             std::int64_t stride = 1, std::int64_t groups = 1, std::int64_t pad = -1) {
    if (pad < 0) pad = kernel / 2;
    const std::int64_t fan_in = x.channels / groups * kernel * kernel;
    // SiLU halves the second moment, roughly; the gain makes up for it.
    const double range = std::sqrt(3.0) * 1.5 / std::sqrt(static_cast<double>(fan_in));
    const std::string weights = parameter(path);
    writer_.floats(weights + ".weight", {out, x.channels / groups, kernel, kernel},
                   noise(out * fan_in, range));
    writer_.floats(weights + ".bias", {out}, noise(out, 0.1));
    Map y = x;
    y.channels = out;
    y.height = (x.height + 2 * pad - kernel) / stride + 1;
    y.width = (x.width + 2 * pad - kernel) / stride + 1;
    y.name = node(path, "Conv", {x.name, weights + ".weight", weights + ".bias"},
                  {{"dilations", Ints{1, 1}},
                   {"group", groups},
                   {"kernel_shape", Ints{kernel, kernel}},
                   {"pads", Ints{pad, pad, pad, pad}},
                   {"strides", Ints{stride, stride}}});
    return y;
  }
  // Conv: convolution (its batch normalisation is folded by the exporter) and SiLU.
  Map conv(const std::string& path, const Map& x, std::int64_t out, std::int64_t kernel = 1,
           std::int64_t stride = 1, std::int64_t groups = 1, std::int64_t pad = -1) {
    Map y = conv2d(path + "/conv", x, out, kernel, stride, groups, pad);
    y.name = node(path + "/act", "Mul", {y.name, node(path + "/act", "Sigmoid", {y.name})});
    return y;
  }
  Map add(const std::string& path, const Map& a, const Map& b) {
    Map sum = a;
    sum.name = node(path, "Add", {a.name, b.name});
    return sum;
  }
  Map concat(const std::string& path, const std::vector<Map>& maps) {
    Map all = maps[0];
    std::vector<std::string> names = {all.name};
    for (std::size_t i = 1; i < maps.size(); ++i) {
      all.channels += maps[i].channels;
      names.push_back(maps[i].name);
    }
    all.name = node(path, "Concat", names, {{"axis", std::int64_t{1}}});
    return all;
  }
  std::pair<Map, Map> halves(const std::string& path, const Map& x) {
    const double half = static_cast<double>(x.channels / 2);
    const auto names =
        nodes(path, "Split", {x.name, ints(path, {half, half})}, 2, {{"axis", std::int64_t{1}}});
    Map a = x;
    a.channels /= 2;
    Map b = a;
    a.name = names[0];
    b.name = names[1];
    return {a, b};
  }
  Map bottleneck(const std::string& path, const Map& x, std::int64_t hidden, std::int64_t kernel,
                 bool shortcut) {
    const Map y = conv(path + "/cv2", conv(path + "/cv1", x, hidden, kernel), x.channels, 3);
    return shortcut ? add(path, x, y) : y;
  }
  // `kernel`: of the bottlenecks' first convolution.
  Map c3(const std::string& path, const Map& x, std::int64_t out, std::int64_t repeats,
         bool shortcut, std::int64_t kernel) {
    const std::int64_t hidden = out / 2;
    Map y = conv(path + "/cv1", x, hidden);
    for (std::int64_t i = 0; i < repeats; ++i) {
      y = bottleneck(fmt::format("{}/m/m.{}", path, i), y, hidden, kernel, shortcut);
    }
    return conv(path + "/cv3", concat(path, {y, conv(path + "/cv2", x, hidden)}), out);
  }
  Map sppf(const std::string& path, const Map& x, std::int64_t out) {
    std::vector<Map> maps = {conv(path + "/cv1", x, x.channels / 2)};
    for (int i = 0; i < 3; ++i) {
      Map y = maps.back();
      y.name = node(path + "/m", "MaxPool", {y.name},
                    {{"ceil_mode", std::int64_t{0}},
                     {"dilations", Ints{1, 1}},
                     {"kernel_shape", Ints{5, 5}},
                     {"pads", Ints{2, 2, 2, 2}},
                     {"strides", Ints{1, 1}}});
      maps.push_back(y);
    }
    return conv(path + "/cv2", concat(path, maps), out);
  }
  Map upsample(const std::string& path, const Map& x) {
    Map y = x;
    y.height *= 2;
    y.width *= 2;
    const std::string scales = constant(path, OnnxType::kFloat, {4}, {1, 1, 2, 2});
    y.name = node(path, "Resize", {x.name, "", scales},
                  {{"coordinate_transformation_mode", std::string("asymmetric")},
                   {"cubic_coeff_a", -0.75F},
                   {"mode", std::string("nearest")},
                   {"nearest_mode", std::string("floor")}});
    return y;
  }

  // --- the model's ends --------------------------------------------------------------------------

  Map images() {
    const bool open = o_.open_size;
    writer_.input("images", {o_.batch, 3, open ? -1 : o_.height, open ? -1 : o_.width});
    return {"images", 3, o_.height, o_.width};
  }
  OnnxWriter finish(bool with_task) {
    writer_.output("output0");
    if (o_.task == Task::kSegment) writer_.output("output1");
    if (o_.task == Task::kPose) writer_.metadata("kpt_shape", "[17, 3]");
    std::string names = "{";
    for (std::int64_t c = 0; c < o_.classes; ++c) {
      names += fmt::format("{}{}: 'class {}'", c == 0 ? "" : ", ", c, c);
    }
    writer_.metadata("stride", "32").metadata("names", names + "}");
    if (with_task) {
      writer_.metadata("task", std::string(kTaskNames[static_cast<std::size_t>(o_.task)]))
          .metadata("batch", std::to_string(std::max<std::int64_t>(1, o_.batch)))
          .metadata("imgsz", fmt::format("[{}, {}]", o_.height, o_.width));
    }
    return std::move(writer_);
  }

  std::vector<double> noise(std::int64_t count, double range) {
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& value : values) {
      state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
      value = (static_cast<double>(state_ >> 40) / static_cast<double>(1 << 23) - 1) * range;
    }
    return values;
  }

  const YoloOptions& o_;
  OnnxWriter writer_;

 private:
  std::map<std::string, int> used_;
  std::uint64_t state_;
};

}  // namespace fovea::engine::test
