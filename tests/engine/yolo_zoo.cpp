// Architectures after the YAML files and modules of Ultralytics' repositories:
// "model.<i>" is line i of such a file.
#include "tests/engine/yolo_anchor_free.hpp"
#include "tests/engine/yolo_layers.hpp"

namespace fovea::engine::test {

namespace {

class V8 : public AnchorFree {
 public:
  using AnchorFree::AnchorFree;

  OnnxWriter make(const Scale& s) {
    const auto ch = [&](std::int64_t n) { return s.channels(n); };
    Map x = conv("model.0", images(), ch(64), 3, 2);
    x = conv("model.1", x, ch(128), 3, 2);
    x = c2f("model.2", x, ch(128), s.repeats(3), true);
    x = conv("model.3", x, ch(256), 3, 2);
    const Map p3 = c2f("model.4", x, ch(256), s.repeats(6), true);
    x = conv("model.5", p3, ch(512), 3, 2);
    const Map p4 = c2f("model.6", x, ch(512), s.repeats(6), true);
    x = conv("model.7", p4, ch(1024), 3, 2);
    x = c2f("model.8", x, ch(1024), s.repeats(3), true);
    const Map p5 = sppf("model.9", x, ch(1024));
    x = concat("model.11", {upsample("model.10", p5), p4});
    const Map n4 = c2f("model.12", x, ch(512), s.repeats(3), false);
    x = concat("model.14", {upsample("model.13", n4), p3});
    Map n3 = c2f("model.15", x, ch(256), s.repeats(3), false);
    if (o_.exotic) n3.name = node("exotic", "Tanh", {n3.name});
    x = concat("model.17", {conv("model.16", n3, ch(256), 3, 2), n4});
    const Map m4 = c2f("model.18", x, ch(512), s.repeats(3), false);
    x = concat("model.20", {conv("model.19", m4, ch(512), 3, 2), p5});
    const Map m5 = c2f("model.21", x, ch(1024), s.repeats(3), false);
    head("model.22", {n3, m4, m5}, s, false);
    return finish(true);
  }
};

class V11 : public AnchorFree {
 public:
  using AnchorFree::AnchorFree;

  // `large`: from m on every C3k2 is a nested one.
  OnnxWriter make(const Scale& s, bool large) {
    const auto ch = [&](std::int64_t n) { return s.channels(n); };
    const std::int64_t repeats = s.repeats(2);
    Map x = conv("model.0", images(), ch(64), 3, 2);
    x = conv("model.1", x, ch(128), 3, 2);
    x = c3k2("model.2", x, ch(256), repeats, large, 4);
    x = conv("model.3", x, ch(256), 3, 2);
    const Map p3 = c3k2("model.4", x, ch(512), repeats, large, 4);
    x = conv("model.5", p3, ch(512), 3, 2);
    const Map p4 = c3k2("model.6", x, ch(512), repeats, true, 2);
    x = conv("model.7", p4, ch(1024), 3, 2);
    x = c3k2("model.8", x, ch(1024), repeats, true, 2);
    x = sppf("model.9", x, ch(1024));
    const Map p5 = c2psa("model.10", x, repeats);
    x = concat("model.12", {upsample("model.11", p5), p4});
    const Map n4 = c3k2("model.13", x, ch(512), repeats, large, 2);
    x = concat("model.15", {upsample("model.14", n4), p3});
    const Map n3 = c3k2("model.16", x, ch(256), repeats, large, 2);
    x = concat("model.18", {conv("model.17", n3, ch(256), 3, 2), n4});
    const Map m4 = c3k2("model.19", x, ch(512), repeats, large, 2);
    x = concat("model.21", {conv("model.20", m4, ch(512), 3, 2), p5});
    const Map m5 = c3k2("model.22", x, ch(1024), repeats, true, 2);
    head("model.23", {n3, m4, m5}, s, true);
    return finish(true);
  }

 private:
  // C3k2: `nested` puts a C3k of two bottlenecks in place of each bottleneck.
  Map c3k2(const std::string& path, const Map& x, std::int64_t out, std::int64_t repeats,
           bool nested, std::int64_t divisor) {
    const std::int64_t hidden = out / divisor;
    const auto [a, b] = halves(path, conv(path + "/cv1", x, 2 * hidden));
    std::vector<Map> maps = {a, b};
    for (std::int64_t i = 0; i < repeats; ++i) {
      const std::string inner = fmt::format("{}/m.{}", path, i);
      maps.push_back(nested ? c3(inner, maps.back(), hidden, 2, true, 3)
                            : bottleneck(inner, maps.back(), hidden / 2, 3, true));
    }
    return conv(path + "/cv2", concat(path, maps), out);
  }

  Map c2psa(const std::string& path, const Map& x, std::int64_t repeats) {
    auto [a, b] = halves(path, conv(path + "/cv1", x, x.channels));
    for (std::int64_t i = 0; i < repeats; ++i) {
      const std::string block = fmt::format("{}/m/m.{}", path, i);
      b = add(block, b, attention(block + "/attn", b));
      const Map wide = conv(block + "/ffn/ffn.0", b, 2 * b.channels);
      b = add(block, b, conv2d(block + "/ffn/ffn.1/conv", wide, b.channels));
    }
    return conv(path + "/cv2", concat(path, {a, b}), x.channels);
  }

  Map attention(const std::string& path, const Map& x) {
    const std::int64_t heads = x.channels / 64;
    const std::int64_t value_dim = x.channels / heads;
    const std::int64_t key_dim = value_dim / 2;
    const Map qkv = conv2d(path + "/qkv/conv", x, x.channels + 2 * key_dim * heads);
    const auto as_double = [](std::int64_t n) { return static_cast<double>(n); };
    const std::string flat =
        view(path, qkv.name, {as_double(heads), as_double(2 * key_dim + value_dim), -1});
    const std::vector<double> sizes = {as_double(key_dim), as_double(key_dim),
                                       as_double(value_dim)};
    const auto parts =
        nodes(path, "Split", {flat, ints(path, sizes)}, 3, {{"axis", std::int64_t{2}}});
    const std::map<std::string, Attribute> swap = {{"perm", Ints{0, 1, 3, 2}}};
    std::string weights =
        node(path, "MatMul", {node(path, "Transpose", {parts[0]}, swap), parts[1]});
    weights = node(path, "Mul", {weights, number(path, 1 / std::sqrt(as_double(key_dim)))});
    weights = node(path, "Softmax", {weights}, {{"axis", std::int64_t{-1}}});
    const std::string mixed =
        node(path, "MatMul", {parts[2], node(path, "Transpose", {weights}, swap)});
    Map y = x;
    y.name = image_view(path, mixed, x);
    Map values = x;
    values.name = image_view(path, parts[2], x);
    const Map position = conv2d(path + "/pe/conv", values, x.channels, 3, 1, x.channels);
    return conv2d(path + "/proj/conv", add(path, y, position), x.channels);
  }

  // x.view(B, C, H, W): with an open size, H and W come from the attention's input.
  std::string image_view(const std::string& path, const std::string& x, const Map& like) {
    if (!o_.open_size) {
      return view(path, x,
                  {static_cast<double>(like.channels), static_cast<double>(like.height),
                   static_cast<double>(like.width)});
    }
    const std::string shape =
        node(path, "Concat",
             {extent(path, like.name, 0, true), ints(path, {static_cast<double>(like.channels)}),
              extent(path, like.name, 2, true), extent(path, like.name, 3, true)},
             {{"axis", std::int64_t{0}}});
    return node(path, "Reshape", {x, shape}, {{"allowzero", std::int64_t{0}}});
  }
};

class V5 : public Layers {
 public:
  using Layers::Layers;

  OnnxWriter make(const Scale& s) {
    const auto ch = [&](std::int64_t n) { return s.channels(n); };
    Map x = conv("model.0", images(), ch(64), 6, 2, 1, 2);
    x = conv("model.1", x, ch(128), 3, 2);
    x = c3("model.2", x, ch(128), s.repeats(3), true, 1);
    x = conv("model.3", x, ch(256), 3, 2);
    const Map p3 = c3("model.4", x, ch(256), s.repeats(6), true, 1);
    x = conv("model.5", p3, ch(512), 3, 2);
    const Map p4 = c3("model.6", x, ch(512), s.repeats(9), true, 1);
    x = conv("model.7", p4, ch(1024), 3, 2);
    x = c3("model.8", x, ch(1024), s.repeats(3), true, 1);
    x = sppf("model.9", x, ch(1024));
    const Map l5 = conv("model.10", x, ch(512));
    x = concat("model.12", {upsample("model.11", l5), p4});
    x = c3("model.13", x, ch(512), s.repeats(3), false, 1);
    const Map l4 = conv("model.14", x, ch(256));
    x = concat("model.16", {upsample("model.15", l4), p3});
    const Map n3 = c3("model.17", x, ch(256), s.repeats(3), false, 1);
    x = concat("model.19", {conv("model.18", n3, ch(256), 3, 2), l4});
    const Map n4 = c3("model.20", x, ch(512), s.repeats(3), false, 1);
    x = concat("model.22", {conv("model.21", n4, ch(512), 3, 2), l5});
    const Map n5 = c3("model.23", x, ch(1024), s.repeats(3), false, 1);
    detect("model.24", {n3, n4, n5});
    return finish(false);
  }

 private:
  static constexpr std::int64_t kBoxes = 3;  // anchor boxes of a cell
  // Width and height in input pixels: yolov5n.yaml.
  static constexpr std::array<std::array<double, 6>, 3> kAnchors = {
      {{10, 13, 16, 30, 33, 23}, {30, 61, 62, 45, 59, 119}, {116, 90, 156, 198, 373, 326}}};

  void detect(const std::string& path, const std::vector<Map>& features) {
    const std::int64_t columns = 5 + o_.classes;
    std::vector<std::string> levels;
    for (std::size_t i = 0; i < features.size(); ++i) {
      const Map raw = conv2d(fmt::format("{}/m.{}", path, i), features[i], kBoxes * columns);
      const Dims grid_dims = {1, kBoxes, raw.height, raw.width, 2};
      std::string x = view(path, raw.name,
                           {static_cast<double>(kBoxes), static_cast<double>(columns),
                            static_cast<double>(raw.height), static_cast<double>(raw.width)});
      x = node(path, "Transpose", {x}, {{"perm", Ints{0, 1, 3, 4, 2}}});
      x = node(path, "Sigmoid", {x});
      const auto parts =
          nodes(path, "Split", {x, ints(path, {2, 2, static_cast<double>(o_.classes + 1)})}, 3,
                {{"axis", std::int64_t{4}}});
      std::vector<double> grid;
      std::vector<double> sizes;
      for (std::size_t box = 0; box < kBoxes; ++box) {
        for (std::int64_t cell = 0; cell < raw.height * raw.width; ++cell) {
          grid.push_back(static_cast<double>(cell % raw.width) - 0.5);
          grid.push_back(static_cast<double>(cell / raw.width) - 0.5);
          sizes.push_back(kAnchors[i][2 * box]);
          sizes.push_back(kAnchors[i][2 * box + 1]);
        }
      }
      std::string xy = node(path, "Mul", {parts[0], number(path, 2)});
      xy = node(path, "Add", {xy, constant(path, OnnxType::kFloat, grid_dims, grid)});
      xy = node(path, "Mul",
                {xy, number(path, static_cast<double>(o_.height / features[i].height))});
      std::string wh = node(path, "Mul", {parts[1], number(path, 2)});
      wh = node(path, "Pow", {wh, number(path, 2)});
      wh = node(path, "Mul", {wh, constant(path, OnnxType::kFloat, grid_dims, sizes)});
      const std::string rows =
          node(path, "Concat", {xy, wh, parts[2]}, {{"axis", std::int64_t{4}}});
      levels.push_back(view(
          path, rows,
          {static_cast<double>(kBoxes * raw.height * raw.width), static_cast<double>(columns)}));
    }
    writer_.node("Concat", levels, {"output0"}, {{"axis", std::int64_t{1}}},
                 unique("/" + path + "/Concat"));
  }
};

}  // namespace

const char* to_string(YoloModel model) {
  switch (model) {
    case YoloModel::kV8n:
      return "yolov8n";
    case YoloModel::kV8s:
      return "yolov8s";
    case YoloModel::kV8m:
      return "yolov8m";
    case YoloModel::kV11n:
      return "yolo11n";
    case YoloModel::kV11s:
      return "yolo11s";
    case YoloModel::kV11m:
      return "yolo11m";
    case YoloModel::kV5n:
      return "yolov5n";
    case YoloModel::kV5s:
      return "yolov5s";
    case YoloModel::kV5m:
      return "yolov5m";
  }
  return "unknown";
}

YoloFamily family_of(YoloModel model) {
  switch (model) {
    case YoloModel::kV11n:
    case YoloModel::kV11s:
    case YoloModel::kV11m:
      return YoloFamily::kV11;
    case YoloModel::kV5n:
    case YoloModel::kV5s:
    case YoloModel::kV5m:
      return YoloFamily::kV5;
    case YoloModel::kV8n:
    case YoloModel::kV8s:
    case YoloModel::kV8m:
      break;
  }
  return YoloFamily::kV8;
}

OnnxWriter make_yolo(YoloModel model, const YoloOptions& options) {
  const Scale scale = scale_of(model);
  switch (family_of(model)) {
    case YoloFamily::kV11:
      return V11(options).make(scale, model == YoloModel::kV11m);
    case YoloFamily::kV5:
      return V5(options).make(scale);
    case YoloFamily::kV8:
      break;
  }
  return V8(options).make(scale);
}

}  // namespace fovea::engine::test
