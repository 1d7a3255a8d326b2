// Valid inputs of the binary formats. They are made, not kept: a file of yesterday's layout would
// be refused at its door.
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <stdlib.h>

#include "msgs/cdr.hpp"
#include "msgs/classification.hpp"
#include "msgs/depth_map.hpp"
#include "msgs/detection.hpp"
#include "msgs/image.hpp"
#include "msgs/instance_mask.hpp"
#include "msgs/keypoints.hpp"
#include "msgs/model_info.hpp"
#include "msgs/node_status.hpp"
#include "msgs/oriented_box.hpp"
#include "msgs/registry.hpp"
#include "msgs/semantic_map.hpp"
#include "msgs/tensor.hpp"
#include "msgs/wire.hpp"
#include "nodes/bag/image_record.hpp"
#include "nodes/bag/mcap.hpp"
#include "nodes/detector/engine/onnx/parser.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/plan/plan.hpp"
#include "nodes/detector/engine/quantization/calibration_table.hpp"
#include "nodes/detector/engine/quantization/calibrator.hpp"
#include "nodes/detector/engine/quantization/quantizer.hpp"
#include "tests/engine/onnx_writer.hpp"
#include "tests/engine/small_network.hpp"
#include "tests/fuzz/targets.hpp"

namespace fovea::fuzz {

namespace {

using engine::test::OnnxWriter;
using Bytes = std::span<const std::byte>;
using List = std::vector<std::int64_t>;

std::string as_string(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A detector of every kind of layer, few channels: of 16 x 16 pixels, or of any size and with a
// quantisation of its own.
std::vector<std::byte> tiny_detector(std::int64_t opset, bool open = false) {
  OnnxWriter w(opset);
  const auto conv = [&](const std::string& x, std::int64_t in, std::int64_t out,
                        std::int64_t kernel, const std::string& name) {
    std::vector<double> weights;
    for (std::int64_t i = 0; i < in * out * kernel * kernel; ++i) {
      weights.push_back(static_cast<double>(i * 7 % 11 - 5) / 10);
    }
    w.floats(name + ".w", {out, in, kernel, kernel}, weights);
    w.node("Conv", {x, name + ".w"}, {name},
           {{"kernel_shape", List{kernel, kernel}},
            {"pads", List(4, kernel / 2)},
            {"strides", List{kernel > 1 ? 2 : 1, kernel > 1 ? 2 : 1}}});
    return name;
  };
  const std::int64_t side = open ? -1 : 16;
  w.input("images", {-1, 3, side, side})
      .metadata("names", "{0: 'a', 1: \"b\"}")
      .metadata("stride", "8");
  w.metadata("imgsz", "[16, 16]");
  std::string x = conv("images", 3, 4, 3, "stem");
  w.node("BatchNormalization", {x, "g", "b", "m", "v"}, {"bn"});
  for (const char* name : {"g", "b", "m", "v"}) w.floats(name, {4}, {1, 1.5, 0.5, 2});
  w.node("Sigmoid", {"bn"}, {"gate"}).node("Mul", {"bn", "gate"}, {"silu"});
  if (opset >= 13) {
    w.ints("halves", {2, 2})
        .node("Split", {"silu", "halves"}, {"left", "right"}, {{"axis", std::int64_t{1}}});
  } else {
    w.node("Split", {"silu"}, {"left", "right"},
           {{"axis", std::int64_t{1}}, {"split", List{2, 2}}});
  }
  w.node("MaxPool", {"left"}, {"pooled"},
         {{"kernel_shape", List{3, 3}}, {"pads", List{1, 1, 1, 1}}, {"strides", List{1, 1}}});
  w.node("Add", {"pooled", "right"}, {"sum"});
  w.floats("scales", {4}, {1, 1, 2, 2});
  w.node("Resize", {"sum", "", "scales"}, {"up"},
         {{"mode", std::string("nearest")},
          {"nearest_mode", std::string("floor")},
          {"coordinate_transformation_mode", std::string("asymmetric")}});
  if (open) {
    w.floats("step", {}, {0.05}).initializer({"zero", engine::test::OnnxType::kUint8, {}, {3}});
    w.node("QuantizeLinear", {"up", "step", "zero"}, {"codes"});
    w.node("DequantizeLinear", {"codes", "step", "zero"}, {"rounded"});
  }
  const std::string upper = open ? "rounded" : "up";
  w.node("Concat", {upper, upper}, {"joined"}, {{"axis", std::int64_t{1}}});
  x = conv("joined", 4, 6, 3, "map");
  w.node("Shape", {x}, {"shape"});
  w.node_with_tensor("Constant", {}, "first", "value",
                     {"", engine::test::OnnxType::kInt64, {1}, {0}});
  w.node("Gather", {"shape", "first"}, {"batch"}, {{"axis", std::int64_t{0}}});
  w.ints("rest", {6, -1})
      .node("Concat", {"batch", "rest"}, {"target"}, {{"axis", std::int64_t{0}}});
  w.node("Reshape", {x, "target"}, {"flat"});
  w.node("Transpose", {"flat"}, {"rows"}, {{"perm", List{0, 2, 1}}});
  w.node("Softmax", {"rows"}, {"soft"}, {{"axis", std::int64_t{2}}});
  w.floats("matrix", {6, 7}, std::vector<double>(42, 0.25));
  w.node("MatMul", {"soft", "matrix"}, {"output0"}).output("output0");
  return w.bytes();
}

engine::NetworkDefinition lowered(bool open) {
  auto network = engine::parse_onnx(tiny_detector(17, open), "");
  require(network.has_value(), "the tiny detector is refused");
  engine::LoweringOptions options;
  if (open) options.profile = {"", {1, 3, 16, 16}, {1, 3, 16, 16}, {2, 3, 32, 32}};
  auto lowered = engine::lower(std::move(*network), options);
  require(lowered.has_value(), lowered ? "" : lowered.error().message.c_str());
  return std::move(*lowered);
}

// In every precision, and one for many sizes.
std::vector<std::string> plans() {
  engine::Plan plan;
  plan.network = lowered(/*open=*/false);
  engine::Plan half = plan;
  half.precision = engine::Precision::kFp16;
  require(engine::use_half_precision(half.network).has_value(), "no half precision");

  engine::Plan int8;
  int8.precision = engine::Precision::kInt8;
  engine::test::SmallNetwork small(16, 16);
  int8.network = small.finish({small.c2f(small.stem(16), 16, 16)});
  require(engine::infer_shapes(int8.network, 1).has_value(), "the small network is refused");
  const auto noise = [](std::size_t index, std::span<std::byte> picture) -> Result<> {
    for (std::size_t i = 0; i < picture.size(); ++i) {
      picture[i] = static_cast<std::byte>(i * 7 + index);
    }
    return {};
  };
  const auto table = engine::calibrate(int8.network, engine::kLeastCalibrationPictures, noise, {});
  require(table.has_value(), table ? "" : table.error().message.c_str());
  const auto quantized = engine::quantize(int8.network, *table);
  require(quantized.has_value(), quantized ? "" : quantized.error().message.c_str());

  engine::Plan open;
  open.max_batch = 2;
  open.network = lowered(/*open=*/true);
  open.tactics = {{open.network.layers[0].name, "avx512/1x16/weights"}};
  std::vector<std::string> seeds;
  for (const engine::Plan* seed : {&plan, &half, &int8, &open}) {
    seeds.push_back(as_string(engine::serialize(*seed)));
  }
  return seeds;
}

template <class M>
std::string message(const M& message) {
  std::vector<std::byte> bytes(msgs::wire_size(message));
  msgs::encode(message, bytes);
  const auto types = msgs::all_message_types();
  const auto type =
      static_cast<std::size_t>(msgs::find_message_type(msgs::kLayoutHash<M>) - types.data());
  return static_cast<char>(type) + as_string(std::span(bytes).subspan(msgs::kHashBytes));
}

msgs::Detection2DArray one_detection() {
  msgs::Detection2DArray detections;
  detections.detections.push_back({});
  return detections;
}

std::unique_ptr<msgs::InstanceMask2DArray> one_mask() {
  auto masks = std::make_unique<msgs::InstanceMask2DArray>();
  masks->instances.push_back(
      {.bbox = {}, .hypothesis = {}, .class_name = {}, .first_run = 0, .run_count = 2});
  masks->runs.push_back(3);
  masks->runs.push_back(4);
  return masks;
}

std::unique_ptr<msgs::KeypointDetection2DArray> one_person() {
  auto people = std::make_unique<msgs::KeypointDetection2DArray>();
  people->detections.push_back({});
  people->detections[0].keypoints.push_back({1, 2, 0.5f});
  return people;
}

msgs::OrientedDetection2DArray one_turned_box() {
  msgs::OrientedDetection2DArray boxes;
  boxes.detections.push_back({});
  return boxes;
}

msgs::Classification one_class() {
  msgs::Classification classes;
  classes.results.push_back({});
  return classes;
}

std::unique_ptr<msgs::SemanticMap> one_map() {
  auto map = std::make_unique<msgs::SemanticMap>();
  map->width = 3;
  map->height = 1;
  map->classes.push_back({.class_id = 1, .pixels = 2, .class_name = {}});
  map->runs.push_back({1, 2});
  map->runs.push_back({msgs::SemanticMap::kNoLabel, 1});
  return map;
}

std::unique_ptr<msgs::DepthMap> one_depth() {
  auto map = std::make_unique<msgs::DepthMap>();
  map->width = map->height = 1;
  map->depth.push_back(2.5f);
  return map;
}

std::vector<std::string> messages() {
  msgs::ModelInfo model;
  constexpr std::array<std::uint32_t, 2> kStrides{8, 16};
  model.head = dfl_head(1, 16, kStrides);
  model.network_width = 64;
  model.network_height = 32;
  model.class_names.push_back(std::string_view("thing"));
  msgs::TensorArray heads;  // of targets.cpp's small model
  heads.letterbox = {64, 64, 64, 64, 64, 64, 0, 0, 0, 0};
  msgs::TensorView box;
  box.name = std::string_view("box0");
  box.rank = 3;
  box.dims = {2, 2, 8};
  box.bytes = 128;
  msgs::TensorView cls = box;
  cls.name = std::string_view("cls0");
  cls.dims = {2, 2, 1};
  cls.offset = 128;
  cls.bytes = 16;
  heads.tensors.push_back(box);
  heads.tensors.push_back(cls);
  const auto with = [&](std::string_view name, std::int64_t channels) {
    msgs::TensorArray more = heads;
    msgs::TensorView view = box;
    view.name = name;
    view.dims = {2, 2, channels};
    view.offset = 192;
    view.bytes = static_cast<std::uint64_t>(16 * channels);
    more.tensors.push_back(view);
    return more;
  };
  msgs::TensorArray masks = with("msk0", 2);
  msgs::TensorView proto = box;
  proto.name = std::string_view("proto");
  proto.dims = {16, 16, 2};
  proto.offset = 256;
  proto.bytes = 2048;
  masks.tensors.push_back(proto);
  return {message(msgs::Image{}),   message(msgs::Tensor{}),   message(heads),
          message(with("kpt0", 6)), message(with("ang0", 1)),  message(masks),
          message(model),           message(one_detection()),  message(*one_mask()),
          message(*one_person()),   message(one_turned_box()), message(one_class()),
          message(*one_map()),      message(*one_depth()),     message(msgs::NodeStatus{})};
}

template <class M>
std::string recorded(const M& message, Bytes payload = {}) {
  std::vector<std::byte> bytes;
  msgs::to_cdr(message, payload, bytes);
  return as_string(bytes);
}

std::string recorded_picture(bool compressed) {
  constexpr std::array<std::byte, 12> kPixels{};
  std::vector<std::byte> bytes;
  bag::to_cdr({.stamp_realtime = 1'700'000'000'000'000'001,
               .frame_id = "cam0",
               .compressed = compressed,
               .height = 2,
               .width = 2,
               .step = 6,
               .data = kPixels},
              bytes);
  return as_string(bytes);
}

// One of each kind, in the order of run_cdr().
std::vector<std::string> recorded_messages() {
  constexpr std::array<std::byte, 5> kPayload{};
  msgs::TensorArray heads;
  heads.tensors.push_back({});
  std::vector<std::string> seeds = {recorded(msgs::Image{}, kPayload),
                                    recorded(msgs::Tensor{}, kPayload),
                                    recorded(heads, kPayload),
                                    recorded(msgs::ModelInfo{}),
                                    recorded(msgs::NodeStatus{}),
                                    recorded(one_detection()),
                                    recorded(*one_mask()),
                                    recorded(*one_person()),
                                    recorded(one_turned_box()),
                                    recorded(one_class()),
                                    recorded(*one_map()),
                                    recorded(*one_depth()),
                                    recorded_picture(false),
                                    recorded_picture(true)};
  for (std::size_t kind = 0; kind < seeds.size(); ++kind) {
    seeds[kind].insert(seeds[kind].begin(), static_cast<char>(kind));
  }
  return seeds;
}

// Two topics in small chunks.
std::string recording(mcap::Compression compression) {
  std::string folder = (std::filesystem::temp_directory_path() / "fovea_seed_XXXXXX").string();
  require(mkdtemp(folder.data()) != nullptr, "no temporary folder");
  const std::string path = folder + "/seed.mcap";
  const auto writer = mcap::Writer::create(path, {.compression = compression, .chunk_bytes = 400});
  require(writer.has_value(), "no recording can be written");
  const auto image = (*writer)->add_schema(bag::kImageSchemaName, "ros2msg", "");
  const auto detections =
      (*writer)->add_schema(msgs::ros2_name<msgs::Detection2DArray>(), "ros2msg", "");
  const std::array channels = {
      (*writer)->add_channel("cam0/image", image, "cdr"),
      (*writer)->add_channel("cam0/detections", detections, "cdr", {{"kind", "seed"}})};
  const std::array contents = {recorded_picture(false), recorded(one_detection())};
  for (std::uint32_t i = 0; i < 6; ++i) {
    const std::string& content = contents[i % 2];
    const bool written =
        (*writer)
            ->write(channels[i % 2], i, 1000 + i, 990 + i, std::as_bytes(std::span(content)))
            .has_value();
    require(written, "no message can be written");
  }
  const bool closed = (*writer)->write_metadata("fovea", {{"dropped", "0"}}).has_value() &&
                      (*writer)->close().has_value();
  require(closed, "a recording cannot be closed");
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  std::filesystem::remove_all(folder);
  return bytes;
}

// Closed ones, and one as a killed recorder leaves it.
std::vector<std::string> recordings() {
  const std::string plain = recording(mcap::Compression::kNone);
  return {plain, recording(mcap::Compression::kZstd), plain.substr(0, plain.size() / 2)};
}

}  // namespace

std::vector<std::string> make_seeds(std::string_view target) {
  if (target == "onnx") {
    return {as_string(tiny_detector(12)), as_string(tiny_detector(17)),
            as_string(tiny_detector(17, /*open=*/true))};
  }
  if (target == "plan") return plans();
  if (target == "calibration") {
    engine::LayerRanges ranges;
    ranges.layer = "/model.0/conv/Conv";
    ranges.pre_min = -3;
    ranges.pre_max = 4;
    ranges.pre_low = -2.5F;
    ranges.pre_high = 3.5F;
    ranges.out_min = -0.25F;
    ranges.out_max = 4;
    ranges.low = -0.25F;
    ranges.high = {3.5F, 4, 3, 4, 2};
    engine::CalibrationTable table;
    table.model_hash = "0123";
    table.identity = "4567";
    table.pictures = 32;
    table.percentile = 99.999;
    table.layers = {ranges, ranges};
    return {to_json(table)};
  }
  if (target == "message") return messages();
  if (target == "mcap") return recordings();
  if (target == "cdr") return recorded_messages();
  return {};
}

}  // namespace fovea::fuzz
