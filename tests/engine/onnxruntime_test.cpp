// Provider "onnxruntime". Tests that need the library skip without FOVEA_ORT_ROOT.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/onnx/writer.hpp"
#include "nodes/detector/engine/onnxruntime/onnxruntime_engine.hpp"
#include "nodes/detector/engine/onnxruntime/session.hpp"
#include "tests/engine/operator_table.hpp"
#include "tests/engine/run_engine.hpp"
#include "tests/engine/small_network.hpp"
#include "tests/engine/yolo_zoo.hpp"

namespace fovea::engine::test {
namespace {

namespace fs = std::filesystem;
using onnxruntime::BackEnd;
using ::testing::HasSubstr;

fs::path temporary(const std::string& name) {
  return fs::path(testing::TempDir()) / ("onnxruntime_test_" + name);
}

BuilderConfig config_for(const char* provider, const char* head = "auto",
                         Precision precision = Precision::kFp32) {
  BuilderConfig config;
  config.provider = provider;
  config.head = head;
  config.precision = precision;
  return config;
}

// Sets FOVEA_ORT_ROOT for a scope.
class Root {
 public:
  explicit Root(const std::string& value) {
    if (const char* old = std::getenv(onnxruntime::kRootVariable)) old_ = old;
    ::setenv(onnxruntime::kRootVariable, value.c_str(), 1);
  }
  ~Root() {
    if (old_) {
      ::setenv(onnxruntime::kRootVariable, old_->c_str(), 1);
    } else {
      ::unsetenv(onnxruntime::kRootVariable);
    }
  }
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;

 private:
  std::optional<std::string> old_;
};

std::string refusal_of(const std::string& root) {
  const auto library = onnxruntime::find_library(root);
  return library ? "it was found: " + (*library)->path : library.error().message;
}

TEST(OnnxRuntimeLibrary, AbsentRootIsNamed) {
  EXPECT_THAT(refusal_of("/nowhere/at/all"),
              HasSubstr("FOVEA_ORT_ROOT=/nowhere/at/all: neither a file nor a folder"));
}

TEST(OnnxRuntimeLibrary, FolderWithoutItSaysWhereItWasLookedFor) {
  const fs::path folder = temporary("empty");
  fs::create_directories(folder / "lib" / "python3.11");
  const std::string refusal = refusal_of(folder.string());
  EXPECT_THAT(refusal, HasSubstr((folder / "lib").string()));
  EXPECT_THAT(refusal, HasSubstr((folder / "onnxruntime" / "capi").string()));
  EXPECT_THAT(refusal, HasSubstr("lib/python3.11/site-packages/onnxruntime/capi"));
  fs::remove_all(folder);
}

TEST(OnnxRuntimeLibrary, FileThatIsNoLibraryIsRefused) {
  const fs::path file = temporary("libonnxruntime.so");
  std::ofstream(file) << "no library";
  EXPECT_THAT(refusal_of(file.string()), HasSubstr("cannot be loaded"));
  fs::remove(file);
}

TEST(OnnxRuntimeLibrary, AnotherLibraryIsRefusedByTheSymbolThatIsMissing) {
  const std::string refusal = refusal_of(FOVEA_OTHER_LIBRARY);
  EXPECT_THAT(refusal, HasSubstr("no function OrtGetApiBase"));
}

TEST(OnnxRuntimeProvider, WithoutTheLibrarySaysSoInPlaceOfLoading) {
  const Root none("/nowhere/at/all");
  const auto available = onnxruntime::check_available(BackEnd::kCpu);
  ASSERT_FALSE(available);
  EXPECT_THAT(available.error().message, HasSubstr("/nowhere/at/all"));
  EXPECT_EQ(onnxruntime::identity(BackEnd::kCpu), "no CPUExecutionProvider");
  Plan plan;
  plan.provider = "onnxruntime";
  SmallNetwork n(8, 8);
  plan.network = n.finish({n.stem(4)});
  const auto engine = load_engine(plan);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().message, available.error().message);
}

TEST(OnnxRuntimeProvider, ChoicesHaveItsBackEndsByName) {
  for (const char* name :
       {"onnxruntime", "onnxruntime:cuda", "onnxruntime:tensorrt", "onnxruntime:openvino"}) {
    const auto provider = find_provider(name);
    ASSERT_TRUE(provider) << name;
    EXPECT_NE((*provider)->take_over, nullptr) << name;
  }
  EXPECT_FALSE(find_provider("auto"));  // a choice, no provider
  ASSERT_TRUE(first_provider("auto"));
  EXPECT_EQ((*first_provider("auto"))->name, "cpu");
}

// A model with an operator that the parser does not know: y = log(1 + exp(x)) of pixels in 0..1.
fs::path exotic_model(const std::string& name, OnnxType type = OnnxType::kFloat) {
  const fs::path file = temporary(name);
  OnnxWriter writer;
  writer.input("images", {-1, 3, 8, 16}, type);
  writer.node("Softplus", {"images"}, {"y"});
  writer.output("y");
  writer.save(file);
  return file;
}

TEST(OnnxRuntimeProvider, AutoSaysWhyAModelStartsNowhere) {
  const Root none("/nowhere/at/all");
  const fs::path file = exotic_model("nowhere.onnx");
  const auto plan = build_plan(file, config_for("auto"));
  fs::remove(file);
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message, HasSubstr("Softplus"));
  EXPECT_THAT(plan.error().message, HasSubstr("provider onnxruntime would be tried, but"));
  EXPECT_THAT(plan.error().message, HasSubstr("/nowhere/at/all"));
}

// Everything below runs models.
class OnnxRuntime : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::getenv(onnxruntime::kRootVariable) == nullptr) {
      GTEST_SKIP() << "FOVEA_ORT_ROOT names no ONNX Runtime to test with";
    }
    const auto available = onnxruntime::check_available(BackEnd::kCpu);
    ASSERT_TRUE(available) << available.error().message;
  }
};
class OnnxRuntimeOperator : public OnnxRuntime, public ::testing::WithParamInterface<OpCase> {};

void expect_close(const Outputs& got, const Outputs& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t k = 0; k < want.size(); ++k) {
    ASSERT_EQ(got[k].size(), want[k].size()) << k;
    float largest = 0;
    for (const float value : want[k]) largest = std::max(largest, std::abs(value));
    for (std::size_t i = 0; i < want[k].size(); ++i) {
      ASSERT_NEAR(got[k][i], want[k][i], 1e-4F * largest + 1e-5F) << k << " at " << i;
    }
  }
}

std::shared_ptr<const Engine> load_with(Plan plan, const std::string& provider) {
  plan.provider = provider;
  auto engine = load_engine(plan);
  EXPECT_TRUE(engine) << engine.error().message;
  return engine ? *engine : nullptr;
}

// As every provider does: the written network gives the table's numbers.
TEST_P(OnnxRuntimeOperator, GivesTheNumbersOfTheTable) {
  const OpCase& c = GetParam();
  SingleLayer single = make_network(c);
  NetworkDefinition& network = single.network;
  for (const ValueId id : network.inputs) {
    Value& value = network.value(id);
    value.constant = std::make_shared<const Tensor>(single.inputs.at(value.name));
  }
  network.inputs = {network.add_value({"picture", DataType::kUint8, {1, 1, 1, 3}, nullptr})};
  // Outputs of any rank become one row.
  for (ValueId& output : network.outputs) {
    Layer row;
    row.name = "row" + std::to_string(output);
    row.op = OpType::kReshape;
    row.inputs = {output, network.add_constant(row.name + ".dims", std::make_shared<const Constant>(
                                                                       Constant::ints({1, -1})))};
    row.outputs = {network.add_value({row.name, DataType::kFloat32, {}, nullptr})};
    output = row.outputs[0];
    network.layers.push_back(std::move(row));
  }
  const auto model = write_onnx(network);
  ASSERT_TRUE(model) << model.error().message;
  const auto library = onnxruntime::find_library();
  ASSERT_TRUE(library) << library.error().message;
  const auto session = onnxruntime::OrtSession::create(**library, BackEnd::kCpu, *model, 1);
  ASSERT_TRUE(session) << session.error().message;
  const TensorSpec picture{"picture", DataType::kUint8, {1, 1, 3}, 3};
  std::vector<HostMemory> memory;
  std::vector<MemoryView> views;
  std::vector<TensorSpec> specs;
  for (const Tensor& expected : c.expected) {
    specs.push_back({"row", expected.dtype, {expected.size()}, expected.bytes.size()});
    memory.push_back(allocate_host(expected.bytes.size()));
    views.push_back({memory.back().get(), expected.bytes.size()});
  }
  const HostMemory input = allocate_host(3);
  const auto ran = (*session)->run({input.get(), 3}, picture, views, specs);
  ASSERT_TRUE(ran) << ran.error().message;
  for (std::size_t i = 0; i < c.expected.size(); ++i) {
    const Tensor& expected = c.expected[i];
    if (expected.dtype != DataType::kFloat32) {
      EXPECT_EQ(std::memcmp(views[i].data, expected.bytes.data(), expected.bytes.size()), 0) << i;
      continue;
    }
    for (std::int64_t k = 0; k < expected.size(); ++k) {
      EXPECT_NEAR(static_cast<const float*>(views[i].data)[k], expected.data<float>()[k], 1e-4F)
          << "output " << i << ", element " << k;
    }
  }
}

// The table's cases but those where ONNX Runtime does what C++ leaves open another way (division of
// integers by zero, casts of NaN and of what is too large), and empty tensors, which make no row.
std::vector<OpCase> comparable_cases() {
  const std::set<std::string> others = {
      "div_int64_truncates_and_survives_zero", "cast_float_to_int64_truncates_and_saturates",
      "quantize_rounds_ties_to_even_and_saturates", "slice_empty", "range_empty"};
  std::vector<OpCase> cases = op_cases();
  std::erase_if(cases, [&](const OpCase& c) { return others.contains(c.name); });
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, OnnxRuntimeOperator, ::testing::ValuesIn(comparable_cases()),
                         [](const auto& tested) { return std::string(tested.param.name); });

// As the benches run a user's model beside ours: not lowered, under its own names.
TEST_F(OnnxRuntime, RunsAFileAsItIsAndSaysWhatItsOutputsAre) {
  const fs::path file = exotic_model("as_it_is.onnx");
  const auto library = onnxruntime::find_library();
  ASSERT_TRUE(library) << library.error().message;
  const auto session = onnxruntime::OrtSession::open(**library, BackEnd::kCpu, file, 1);
  fs::remove(file);
  ASSERT_TRUE(session) << session.error().message;
  std::vector<float> planes(3 * 8 * 16);
  for (std::size_t i = 0; i < planes.size(); ++i) planes[i] = static_cast<float>(i) / 100;
  const TensorSpec input{"images", DataType::kFloat32, {3, 8, 16}, planes.size() * sizeof(float)};
  const auto ran = (*session)->run({planes.data(), input.bytes}, input);
  ASSERT_TRUE(ran) << ran.error().message;
  ASSERT_EQ(ran->tensors().size(), 1U);
  const onnxruntime::OrtOutput& output = ran->tensors()[0];
  EXPECT_EQ(output.spec.name, "y");
  EXPECT_EQ(output.spec.dims, (Dims{1, 3, 8, 16}));
  ASSERT_EQ(output.spec.bytes, input.bytes);
  for (std::size_t i = 0; i < planes.size(); ++i) {
    EXPECT_NEAR(static_cast<const float*>(output.data)[i], std::log1p(std::exp(planes[i])), 1e-4F)
        << i;
  }
}

TEST_F(OnnxRuntime, RefusesAFileWithTwoInputsInPlaceOfRunningWithOne) {
  const fs::path file = temporary("two_inputs.onnx");
  OnnxWriter writer;
  writer.input("left", {1, 3, 8, 16});
  writer.input("right", {1, 3, 8, 16});
  writer.node("Add", {"left", "right"}, {"y"});
  writer.output("y");
  writer.save(file);
  const auto library = onnxruntime::find_library();
  ASSERT_TRUE(library) << library.error().message;
  const auto session = onnxruntime::OrtSession::open(**library, BackEnd::kCpu, file, 1);
  fs::remove(file);
  ASSERT_FALSE(session);
  EXPECT_THAT(session.error().message, HasSubstr("the model has 2 inputs; it must have one"));
}

TEST_F(OnnxRuntime, AFileThatItCannotReadIsNamed) {
  const auto library = onnxruntime::find_library();
  ASSERT_TRUE(library) << library.error().message;
  const auto session =
      onnxruntime::OrtSession::open(**library, BackEnd::kCpu, "/nowhere/model.onnx", 1);
  ASSERT_FALSE(session);
  EXPECT_THAT(session.error().message, HasSubstr("/nowhere/model.onnx: ONNX Runtime"));
}

TEST_F(OnnxRuntime, GivesWhatTheReferenceGivesForEveryItemOfABatch) {
  SmallNetwork n(32, 48);
  const ValueId x = n.stem(16);
  const ValueId y = n.conv(x, {.in = 16, .out = 16, .kernel = 3, .residual = x});
  Plan plan;
  plan.max_batch = 3;
  plan.network = n.finish(
      {n.c2f(y, 16, 16), n.conv(y, {.in = 16, .out = 3, .activation = Activation::kLeakyRelu})});
  const auto engine = load_with(plan, "onnxruntime");
  const auto reference = load_with(plan, "reference");
  ASSERT_TRUE(engine && reference);
  std::vector<std::vector<std::uint8_t>> pictures;
  for (unsigned i = 0; i < 3; ++i) pictures.push_back(SmallNetwork::picture(32, 48, i));
  const auto got = run_engine(*engine, pictures, /*runs=*/2);
  const auto want = run_engine(*reference, pictures);
  for (std::size_t item = 0; item < 3; ++item) expect_close(got[item], want[item]);
}

TEST_F(OnnxRuntime, RunsTheRawMapsOfDetectorsAsOtherProvidersDo) {
  for (const YoloModel model : {YoloModel::kV8n, YoloModel::kV11n, YoloModel::kV5n}) {
    SCOPED_TRACE(to_string(model));
    const fs::path file = temporary(std::string(to_string(model)) + ".onnx");
    make_yolo(model, {.height = 64, .width = 96}).save(file);
    const auto plan = build_plan(file, config_for("onnxruntime"));
    fs::remove(file);
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_EQ(plan->artifact.size(), 0U) << "the plan has the network already";
    const auto engine = load_with(*plan, "onnxruntime");
    const auto cpu = load_with(*plan, "cpu");
    ASSERT_TRUE(engine && cpu);
    EXPECT_EQ(engine->info().outputs.size(), cpu->info().outputs.size());
    const std::vector<std::vector<std::uint8_t>> pictures = {SmallNetwork::picture(64, 96, 1)};
    expect_close(run_engine(*engine, pictures)[0], run_engine(*cpu, pictures)[0]);
  }
}

TEST_F(OnnxRuntime, RefusesOtherPrecisionsThanFp32) {
  const fs::path file = temporary("half.onnx");
  make_yolo(YoloModel::kV8n, {.height = 64, .width = 64}).save(file);
  const auto plan = build_plan(file, config_for("onnxruntime", "auto", Precision::kFp16));
  fs::remove(file);
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message, HasSubstr("provider onnxruntime runs fp32 only"));
}

TEST_F(OnnxRuntime, ABackEndThatItsLibraryLacksIsNamed) {
  const auto available = onnxruntime::check_available(BackEnd::kTensorRt);
  if (available) GTEST_SKIP() << "this library has all of them";
  EXPECT_THAT(available.error().message, HasSubstr("has no TensorrtExecutionProvider; it has"));
  EXPECT_THAT(available.error().message, HasSubstr("CPUExecutionProvider"));
}

void expect_softplus(const Engine& engine) {
  const auto picture = SmallNetwork::picture(8, 16, 3);
  const Outputs outputs = run_engine(engine, {picture})[0];
  ASSERT_EQ(outputs.size(), 1U);
  ASSERT_EQ(outputs[0].size(), picture.size());
  constexpr std::size_t kPixels = 8 * 16;
  for (std::size_t i = 0; i < kPixels; ++i) {
    for (std::size_t c = 0; c < 3; ++c) {
      const double x = picture[3 * i + c] / 255.0;
      ASSERT_NEAR(outputs[0][c * kPixels + i], std::log1p(std::exp(x)), 2e-3) << i;
    }
  }
}

TEST_F(OnnxRuntime, TakesAModelOverThatTheParserRefuses) {
  const fs::path file = exotic_model("exotic.onnx");
  EXPECT_FALSE(build_plan(file, BuilderConfig{}));
  const auto plan = build_plan(file, config_for("onnxruntime", "none"));
  fs::remove(file);  // the plan needs it no more
  ASSERT_TRUE(plan) << plan.error().message;
  const auto bytes = serialize(*plan);
  const auto read = deserialize(bytes);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->artifact, plan->artifact);
  EXPECT_EQ(serialize(*read), bytes);
  EXPECT_EQ(read->network.value(read->network.outputs[0]).name, "y");
  const auto engine = load_with(*read, "onnxruntime");
  ASSERT_NE(engine, nullptr);
  expect_softplus(*engine);
  // Nobody else runs it, and says so.
  for (const char* other : {"cpu", "onednn", "reference"}) {
    Plan wrong = *read;
    wrong.provider = other;
    const auto refused = load_engine(wrong);
    ASSERT_FALSE(refused) << other;
    EXPECT_THAT(refused.error().message, HasSubstr("only the provider that took the model over"));
  }
}

TEST_F(OnnxRuntime, TakesHalfFloatModelsOverWithBindingsOfF32) {
  const fs::path file = exotic_model("half_exotic.onnx", OnnxType::kFloat16);
  const auto plan = build_plan(file, config_for("onnxruntime", "none"));
  fs::remove(file);
  ASSERT_TRUE(plan) << plan.error().message;
  const auto engine = load_with(*plan, "onnxruntime");
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(engine->info().outputs[0].dtype, DataType::kFloat32);
  expect_softplus(*engine);
}

TEST_F(OnnxRuntime, AutoStartsOnItWithAWarningAndOnlyThen) {
  const fs::path file = exotic_model("auto.onnx");
  const auto plan = build_plan(file, config_for("auto", "none"));
  const auto preview = preview_engine(file, config_for("auto", "none"));
  fs::remove(file);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->provider, "onnxruntime");
  ASSERT_EQ(plan->network.head.warnings.size(), 1U);
  EXPECT_THAT(plan->network.head.warnings[0], HasSubstr("provider cpu cannot run this model"));
  EXPECT_THAT(plan->network.head.warnings[0], HasSubstr("it runs on ONNX Runtime"));
  ASSERT_TRUE(preview) << preview.error().message;
  EXPECT_EQ(preview->provider, "onnxruntime");

  const fs::path known = temporary("known.onnx");
  make_yolo(YoloModel::kV8n, {.height = 64, .width = 64}).save(known);
  const auto own = build_plan(known, config_for("auto"));
  fs::remove(known);
  ASSERT_TRUE(own) << own.error().message;
  EXPECT_EQ(own->provider, "cpu");
}

}  // namespace
}  // namespace fovea::engine::test
