// Whole detectors from file to detections: what single passes and layers cannot show is that the
// graphs people bring come through as they are.
#include "tests/engine/yolo_zoo.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <optional>
#include <span>

#include <gmock/gmock.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/onnx/parser.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/reference/evaluate.hpp"
#include "nodes/detector/model_description.hpp"
#include "nodes/postprocess/postprocessor.hpp"
#include "tests/engine/graph_maker.hpp"

namespace fovea::engine {
namespace {

using test::YoloFamily;
using test::YoloModel;
using test::YoloOptions;

// One engine's outputs for some pictures, in memory as bindings need it.
class Run {
 public:
  Run(const Engine& engine, std::size_t items) : info_(engine.info()) {
    bindings_.emplace(info_, items);
    for (std::size_t item = 0; item < items; ++item) {
      for (std::byte& value : bindings_->input(item)) {
        state_ = state_ * 1664525U + 1013904223U;
        value = static_cast<std::byte>(state_ >> 24);
      }
      for (std::size_t i = 0; i < info_.outputs.size(); ++i) {
        const std::span<std::byte> output = bindings_->output(i, item);
        std::fill(output.begin(), output.end(), std::byte{0xFF});  // NaN
      }
    }
    auto context = engine.create_execution_context();
    if (!context) {
      ADD_FAILURE() << context.error().message;
      return;
    }
    const auto done = (*context)->execute(bindings_->items());
    EXPECT_TRUE(done) << done.error().message;
  }

  std::span<const float> output(std::size_t item, std::size_t index) const {
    const std::span<std::byte> bytes = bindings_->output(index, item);
    return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
  }
  const EngineInfo& info() const { return info_; }
  std::size_t items() const { return bindings_->items().size(); }

 private:
  EngineInfo info_;
  std::optional<Bindings> bindings_;
  std::uint32_t state_ = 7;
};

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return ab / std::sqrt(aa * bb);
}

// Spread of an output around its mean: equal numbers everywhere would prove nothing.
double deviation(std::span<const float> values) {
  const double mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  double sum = 0;
  for (const float value : values) {
    sum += (static_cast<double>(value) - mean) * (static_cast<double>(value) - mean);
  }
  return std::sqrt(sum / static_cast<double>(values.size()));
}

void expect_agreement(const Run& got, const Run& want) {
  ASSERT_EQ(got.items(), want.items());
  ASSERT_EQ(got.info().outputs.size(), want.info().outputs.size());
  for (std::size_t item = 0; item < got.items(); ++item) {
    for (std::size_t k = 0; k < got.info().outputs.size(); ++k) {
      SCOPED_TRACE(got.info().outputs[k].name + " of item " + std::to_string(item));
      const auto a = got.output(item, k);
      const auto b = want.output(item, k);
      ASSERT_EQ(a.size(), b.size());
      EXPECT_GT(deviation(b), 1e-3);
      EXPECT_LT(deviation(b), 1e3);
      EXPECT_GE(cosine(a, b), 0.9999);
    }
  }
}

std::filesystem::path save(const test::OnnxWriter& writer, const std::string& name) {
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / (name + ".onnx");
  writer.save(file);
  return file;
}

// Builds for "cpu" and checks that the plan gives the same on the reference.
std::shared_ptr<const Engine> build_and_compare(const std::filesystem::path& model,
                                                   std::int32_t items = 1) {
  BuilderConfig config;
  config.max_batch = items;
  auto plan = build_plan(model, config);
  std::filesystem::remove(model);
  if (!plan) {
    ADD_FAILURE() << plan.error().message;
    return nullptr;
  }
  auto cpu = load_engine(*plan);
  EXPECT_TRUE(cpu) << cpu.error().message;
  plan->provider = "reference";
  auto reference = load_engine(*plan);
  EXPECT_TRUE(reference) << reference.error().message;
  if (!cpu || !reference) return nullptr;
  const auto count = static_cast<std::size_t>(items);
  expect_agreement(Run(**cpu, count), Run(**reference, count));
  return *cpu;
}

// The decoder takes what the engine gives, and finds something: random scores are near one half.
void expect_detections(const Engine& engine) {
  const Run run(engine, 1);
  auto model = describe_model(engine.info(), 1);
  ASSERT_TRUE(model) << model.error().message;
  auto postprocessor = Postprocessor::create(*model, PostprocessOptions::evaluation());
  ASSERT_TRUE(postprocessor) << postprocessor.error().message;
  std::vector<HeadTensor> tensors;
  for (std::size_t k = 0; k < engine.info().outputs.size(); ++k) {
    const TensorSpec& spec = engine.info().outputs[k];
    tensors.push_back(
        {spec.name, msgs::DataType::kFloat32, spec.dims, std::as_bytes(run.output(0, k))});
  }
  const msgs::LetterboxTransform whole = {model->network_width, model->network_height,
                                          model->network_width, model->network_height,
                                          model->network_width, model->network_height};
  msgs::Detection2DArray detections;
  const auto done = postprocessor->run(tensors, whole, detections);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_GT(detections.detections.size(), 0U);
}

// Where the CPU has what our kernels need, they run every layer.
void expect_no_slow_steps(const Engine& engine) {
  if (!kernels::cpu_features().avx2) return;
  EXPECT_THAT(engine.inspect().declined, testing::IsEmpty());
  for (const LayerReport& step : engine.inspect().layers) {
    EXPECT_THAT(step.implementation, testing::Not(testing::AnyOf(testing::HasSubstr("reference"),
                                                                 testing::HasSubstr("scalar"))))
        << step.layer;
  }
}

struct ZooCase {
  const char* name;
  YoloModel model;
  YoloOptions options;
  std::int32_t items = 1;
};

std::ostream& operator<<(std::ostream& stream, const ZooCase& c) { return stream << c.name; }

class YoloZoo : public testing::TestWithParam<ZooCase> {};

TEST_P(YoloZoo, RunsAndDecodes) {
  const ZooCase& c = GetParam();
  const auto engine = build_and_compare(
      save(test::make_yolo(c.model, c.options), std::string("zoo_") + c.name), c.items);
  ASSERT_TRUE(engine);
  expect_no_slow_steps(*engine);
  const EngineInfo& info = engine->info();
  EXPECT_EQ(info.input.dims, (Dims{c.options.height, c.options.width, 3}));
  EXPECT_EQ(info.head.classes(), static_cast<std::size_t>(c.options.classes));
  ASSERT_EQ(info.class_names.size(), static_cast<std::size_t>(c.options.classes));
  EXPECT_EQ(info.class_names.back(), "class " + std::to_string(c.options.classes - 1));
  if (family_of(c.model) == YoloFamily::kV5) {
    EXPECT_EQ(info.head.name, "decoded_objectness");
    const std::int64_t anchors = 3 * 21 * (c.options.height / 32) * (c.options.width / 32);
    ASSERT_EQ(info.outputs.size(), 1U);
    EXPECT_EQ(info.outputs[0].dims, (Dims{anchors, 5 + c.options.classes}));
  } else {
    EXPECT_EQ(info.head.name, "dfl");
    EXPECT_EQ(info.head.spec.bins(), 16U);
    EXPECT_THAT(info.head.spec.strides(), testing::ElementsAre(8, 16, 32));
    EXPECT_EQ(info.head.spec.task(), c.options.task);
    EXPECT_THAT(info.head.warnings, testing::IsEmpty());
  }
  if (c.options.task == Task::kDetect) expect_detections(*engine);
}

INSTANTIATE_TEST_SUITE_P(
    Models, YoloZoo,
    testing::Values(
        ZooCase{"yolov8n", YoloModel::kV8n, {.height = 64, .width = 96}},
        ZooCase{"yolov8n_of_one_class", YoloModel::kV8n, {.height = 64, .width = 64, .classes = 1}},
        ZooCase{"yolov8n_for_four", YoloModel::kV8n, {.height = 64, .width = 64, .batch = 4}, 4},
        ZooCase{"yolov8n_open_batch", YoloModel::kV8n, {.height = 64, .width = 64, .batch = -1}, 2},
        ZooCase{"yolov8n_open",
                YoloModel::kV8n,
                {.height = 96, .width = 64, .batch = -1, .open_size = true},
                2},
        ZooCase{"yolov8s", YoloModel::kV8s, {.height = 64, .width = 64}},
        ZooCase{"yolov8m", YoloModel::kV8m, {.height = 64, .width = 64}},
        ZooCase{"yolo11n", YoloModel::kV11n, {.height = 96, .width = 64}},
        ZooCase{"yolo11s", YoloModel::kV11s, {.height = 64, .width = 64}},
        ZooCase{"yolo11m", YoloModel::kV11m, {.height = 64, .width = 64}},
        ZooCase{"yolo11n_for_four", YoloModel::kV11n, {.height = 64, .width = 64, .batch = 4}, 4},
        ZooCase{"yolo11n_open",
                YoloModel::kV11n,
                {.height = 64, .width = 96, .batch = -1, .open_size = true},
                2},
        ZooCase{
            "yolov8n_seg", YoloModel::kV8n, {.height = 64, .width = 96, .task = Task::kSegment}},
        ZooCase{"yolo11n_seg_open",
                YoloModel::kV11n,
                {.height = 64, .width = 96, .batch = -1, .open_size = true, .task = Task::kSegment},
                2},
        ZooCase{"yolov8n_pose",
                YoloModel::kV8n,
                {.height = 64, .width = 96, .classes = 1, .task = Task::kPose}},
        ZooCase{"yolo11n_obb", YoloModel::kV11n, {.height = 96, .width = 64, .task = Task::kObb}},
        ZooCase{"yolov5n", YoloModel::kV5n, {.height = 64, .width = 96}},
        ZooCase{"yolov5s", YoloModel::kV5s, {.height = 64, .width = 64}},
        ZooCase{"yolov5m", YoloModel::kV5m, {.height = 64, .width = 64}},
        ZooCase{"yolov5n_open_batch", YoloModel::kV5n, {.height = 64, .width = 64, .batch = -1}, 2},
        ZooCase{"yolov5n_for_four", YoloModel::kV5n, {.height = 64, .width = 64, .batch = 4}, 4}),
    [](const auto& param) { return param.param.name; });

// Ultralytics prints these for fused models: the zoo's graphs are the real ones.
TEST(YoloZoo, HasThePublishedNumbersOfParameters) {
  struct Published {
    YoloModel model;
    std::int64_t parameters;
    Task task = Task::kDetect;
    std::int64_t classes = 80;
  };
  const Published published[] = {{YoloModel::kV8n, 3'151'904},
                                 {YoloModel::kV8s, 11'156'544},
                                 {YoloModel::kV8m, 25'886'080},
                                 {YoloModel::kV11n, 2'616'248},
                                 {YoloModel::kV11s, 9'443'760},
                                 {YoloModel::kV11m, 20'091'712},
                                 {YoloModel::kV5n, 1'867'405},
                                 {YoloModel::kV5s, 7'225'885},
                                 {YoloModel::kV5m, 21'172'173},
                                 {YoloModel::kV8n, 3'404'320, Task::kSegment},
                                 {YoloModel::kV8n, 3'289'964, Task::kPose, 1},
                                 {YoloModel::kV8n, 3'223'475, Task::kObb},
                                 {YoloModel::kV11n, 2'868'664, Task::kSegment},
                                 {YoloModel::kV11n, 2'900'369, Task::kPose},
                                 {YoloModel::kV11n, 2'687'819, Task::kObb}};
  for (const auto& [model, parameters, task, classes] : published) {
    const YoloOptions options = {.height = 32, .width = 32, .classes = classes, .task = task};
    const auto network = parse_onnx(test::make_yolo(model, options).bytes(), "");
    ASSERT_TRUE(network) << network.error().message;
    std::int64_t count = 0;
    for (const Layer& layer : network->layers) {
      const bool counts = layer.op == OpType::kConv || layer.op == OpType::kConvTranspose;
      for (std::size_t i = 1; counts && i < layer.inputs.size(); ++i) {
        count += network->value(layer.inputs[i]).constant->size();
      }
    }
    EXPECT_EQ(count, parameters) << test::to_string(model) << " "
                                 << kTaskNames[static_cast<std::size_t>(task)];
  }
}

// The graph as its file has it against the lowered one, both on the reference operators: whatever
// the passes did, `output0` is the same.
class YoloLowering : public testing::TestWithParam<YoloModel> {};

TEST_P(YoloLowering, KeepsOutput0) {
  const YoloOptions options = {.height = 64, .width = 64};
  auto network = parse_onnx(test::make_yolo(GetParam(), options).bytes(), "");
  ASSERT_TRUE(network) << network.error().message;
  auto lowered = lower(*network, {.keep_output0 = true});
  ASSERT_TRUE(lowered) << lowered.error().message;

  Constant pixels = Constant::make(DataType::kUint8, {1, options.height, options.width, 3});
  Constant images = Constant::make(DataType::kFloat32, {1, 3, options.height, options.width});
  const std::int64_t plane = options.height * options.width;
  std::uint32_t state = 3;
  for (std::int64_t i = 0; i < pixels.size(); ++i) {
    state = state * 1664525U + 1013904223U;
    pixels.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(state >> 24);
    images.data<float>()[i % 3 * plane + i / 3] =
        static_cast<float>(pixels.data<std::uint8_t>()[i]) / 255.0F;
  }
  const auto want = reference::evaluate(*network, {{"images", images}});
  ASSERT_TRUE(want) << want.error().message;
  const auto got = reference::evaluate(*lowered, {{"images", pixels}});
  ASSERT_TRUE(got) << got.error().message;
  const Constant& a = got->at("output0");
  const Constant& b = want->at("output0");
  ASSERT_EQ(a.dims, b.dims);
  for (std::int64_t i = 0; i < a.size(); ++i) {
    const float tolerance = 1e-3F * std::max(1.0F, std::abs(b.data<float>()[i]));
    ASSERT_NEAR(a.data<float>()[i], b.data<float>()[i], tolerance) << "at " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, YoloLowering,
                         testing::Values(YoloModel::kV8n, YoloModel::kV11n, YoloModel::kV5n),
                         [](const auto& param) { return test::to_string(param.param); });

TEST(YoloLowering, AnExportOfYolov8nHasNothingLeftButItsConvolutionsAndWhatMovesData) {
  auto network = parse_onnx(test::make_yolo(YoloModel::kV8n).bytes(), "");
  ASSERT_TRUE(network) << network.error().message;
  auto lowered = lower(*network);
  ASSERT_TRUE(lowered) << lowered.error().message;
  std::map<OpType, std::size_t> count;
  for (const Layer& layer : lowered->layers) ++count[layer.op];
  EXPECT_THAT(count, testing::UnorderedElementsAre(
                         testing::Pair(OpType::kImageInput, 1), testing::Pair(OpType::kConv, 63),
                         testing::Pair(OpType::kSplit, 8), testing::Pair(OpType::kConcat, 13),
                         testing::Pair(OpType::kMaxPool, 3), testing::Pair(OpType::kResize, 2)));
}

// YOLO-World's comparison of a map with vectors, through our kernels.
TEST(YoloZoo, EinsumRunsOnTheKernels) {
  test::OnnxWriter w;
  const auto conv = [&](const std::string& name, const std::string& x, const Dims& dims) {
    const test::Tensor weights = test::noise(dims, 5, 0.3F);
    w.floats(name + ".weight", dims,
             {weights.data<float>(), weights.data<float>() + weights.size()});
    w.node("Conv", {x, name + ".weight"}, {name}, {}, name);
  };
  w.input("images", {1, 3, 16, 24});
  conv("map", "images", {24, 3, 1, 1});
  conv("vectors", "images", {4, 3, 1, 1});
  w.ints("shape", {1, -1, 24}).node("Reshape", {"vectors", "shape"}, {"rows"}, {}, "rows");
  w.node("Einsum", {"map", "rows"}, {"y"}, {{"equation", std::string("bchw,bkc->bkhw")}}, "e");
  w.output("y");
  const auto engine = build_and_compare(save(w, "zoo_einsum"));
  ASSERT_TRUE(engine);
  expect_no_slow_steps(*engine);
}

// Operators that the fast path does not know run on the reference, in the middle of a network, and
// the report says so.
TEST(YoloZoo, ExoticOperatorsRunOnTheReference) {
  test::OnnxWriter w;
  const auto conv = [&](const std::string& name, const std::string& x, std::int64_t in,
                        std::int64_t out, std::int64_t groups) {
    const test::Tensor weights = test::noise({out, in / groups, 3, 3}, 5, 0.3F);
    w.floats(name + ".weight", weights.dims,
             {weights.data<float>(), weights.data<float>() + weights.size()});
    w.node("Conv", {x, name + ".weight"}, {name + ".y"},
           {{"kernel_shape", std::vector<std::int64_t>{3, 3}},
            {"pads", std::vector<std::int64_t>{1, 1, 1, 1}},
            {"group", groups}},
           name);
    return name + ".y";
  };
  w.input("images", {1, 3, 32, 48});
  std::string x = conv("stem", "images", 3, 16, 1);
  w.node("Pow", {x, "two"}, {"squared"}, {}, "exotic/Pow").floats("two", {}, {2});
  w.node("ReduceMean", {"squared"}, {"mean"},
         {{"axes", std::vector<std::int64_t>{2, 3}}, {"keepdims", std::int64_t{1}}},
         "exotic/ReduceMean");
  w.node("Div", {x, "mean"}, {"normalised"}, {}, "exotic/Div");
  x = conv("grouped", "normalised", 16, 16, 4);
  w.node("HardSwish", {x}, {"swished"}, {}, "exotic/HardSwish");
  w.node("Tanh", {"swished"}, {"bounded"}, {}, "exotic/Tanh");
  x = conv("last", "bounded", 16, 8, 1);
  w.node("Identity", {x}, {"y"}).output("y");

  const auto engine = build_and_compare(save(w, "zoo_exotic"));
  ASSERT_TRUE(engine);
  EXPECT_FALSE(engine->info().head.known());
  const std::vector<std::string> declined = engine->inspect().declined;
  for (const char* name : {"exotic/Pow", "exotic/ReduceMean", "exotic/Div", "exotic/Tanh"}) {
    EXPECT_THAT(declined, testing::Contains(testing::StartsWith(std::string(name) + ": ")));
    EXPECT_THAT(engine->inspect().layers,
                testing::Contains(testing::AllOf(testing::Field(&LayerReport::layer, name),
                                                 testing::Field(&LayerReport::implementation,
                                                                testing::HasSubstr("reference")))));
  }
  EXPECT_THAT(engine->inspect().layers,
              testing::Contains(
                  testing::AllOf(testing::Field(&LayerReport::layer, "last"),
                                 testing::Field(&LayerReport::implementation,
                                                testing::Not(testing::HasSubstr("reference"))))));
}

}  // namespace
}  // namespace fovea::engine
