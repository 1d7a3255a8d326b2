// One plan for many input sizes: every size gives the reference's numbers, sizes that do not belong
// are refused by name, and what runs afterwards allocates nothing.
#include "nodes/detector/engine/profile.hpp"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>

#include <gmock/gmock.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/packed_forms.hpp"
#include "nodes/detector/engine/quantization/calibrator.hpp"
#include "tests/engine/run_engine.hpp"
#include "tests/engine/small_network.hpp"
#include "tests/engine/yolo_zoo.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea::engine {
namespace {

using ::testing::HasSubstr;

constexpr const char* kMin = "images:1x3x64x64";
constexpr const char* kOpt = "images:1x3x96x64";
constexpr const char* kMax = "images:2x3x128x96";

std::string message(const auto& result) { return result ? "no error" : result.error().message; }

TEST(Profile, ReadsTensorRtsSpelling) {
  const auto profile = parse_profile(kMin, kOpt, kMax);
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_EQ(profile->input, "images");
  EXPECT_EQ(profile->max, (Dims{2, 3, 128, 96}));
  EXPECT_EQ(to_string(*profile), "min 1x3x64x64, opt 1x3x96x64, max 2x3x128x96");
  const auto one = parse_profile("", "1x3x96x64", "");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->min, one->max);
  EXPECT_EQ(to_string(*one), "1x3x96x64");
}

TEST(Profile, NonsenseIsRefusedByName) {
  const auto refused = [](const char* min, const char* opt, const char* max) {
    return message(parse_profile(min, opt, max));
  };
  EXPECT_THAT(refused("64", "", ""), HasSubstr("min-shapes is '64'"));
  EXPECT_THAT(refused("", "1x3x64x", ""), HasSubstr("opt-shapes is '1x3x64x'"));
  EXPECT_THAT(refused("", "", "a:1x3x64x64x2"), HasSubstr("max-shapes"));
  EXPECT_THAT(refused("1x3x64x64", "1x3x32x64", "1x3x96x96"),
              HasSubstr("profile height is min 64, opt 32, max 96"));
  EXPECT_THAT(refused("1x3x64x64", "1x3x64x64", "1x3x64x32"),
              HasSubstr("profile width is min 64, opt 64, max 32"));
  EXPECT_THAT(refused("2x3x64x64", "", "4x3x64x64"), HasSubstr("min batch is 2"));
  EXPECT_THAT(refused("1x1x64x64", "", ""), HasSubstr("profile min is 1x1x64x64"));
  EXPECT_THAT(refused("", "1x3x0x64", ""), HasSubstr("1x3x0x64"));
  EXPECT_THAT(refused("1x3x-64x64", "", ""), HasSubstr("1x3x-64x64"));
  EXPECT_THAT(refused("", "", "1x3x1000000x1000000"), HasSubstr("1000000"));
  EXPECT_THAT(refused("a:1x3x64x64", "b:1x3x64x64", ""), HasSubstr("'b'"));
}

TEST(InputSize, ReadsASideOrWidthTimesHeight) {
  const auto square = parse_input_size("--input-size", "416");
  ASSERT_TRUE(square) << square.error().message;
  EXPECT_EQ(square->width, 416);
  EXPECT_EQ(square->height, 416);
  const auto wide = parse_input_size("--input-size", "640x384");
  ASSERT_TRUE(wide) << wide.error().message;
  EXPECT_EQ(wide->width, 640);
  EXPECT_EQ(wide->height, 384);
  for (const char* bad : {"", "x", "640x", "x384", "640x384x3", "640X384", "0", "-1", "640x0",
                          "64.0", "99999999999", "640 "}) {
    EXPECT_EQ(message(parse_input_size("--input-size", bad)),
              std::string("--input-size is '") + bad +
                  "'; it must be SIDE or WIDTHxHEIGHT, like 640 or 640x384");
  }
}

TEST(PackedForms, LiveAsLongAsTheyAreUsed) {
  const PackedForms forms;
  int made = 0;
  const auto get = [&] {
    return forms.find_or_make("a", [&] {
      ++made;
      return PackedForms::Bytes(new std::byte[1]);
    });
  };
  {
    const auto one = get();
    EXPECT_EQ(get(), one);
    EXPECT_EQ(made, 1);
  }
  EXPECT_TRUE(get());
  EXPECT_EQ(made, 2);
}

class DynamicModel : public ::testing::TestWithParam<test::YoloModel> {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "fovea-profile-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    test::make_yolo(GetParam(), {.height = 96,
                                 .width = 64,
                                 .batch = -1,
                                 .open_size = true,
                                 .grid_of_features = GetParam() == test::YoloModel::kV11n})
        .save(folder_ / "model.onnx");
    config_.profile = *parse_profile(kMin, kOpt, kMax);
    config_.max_batch = 2;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Result<Plan> build() const { return build_plan(folder_ / "model.onnx", config_); }

  static std::vector<std::uint8_t> picture(const Dims& size) {
    return test::SmallNetwork::picture(size[0], size[1], 5);
  }

  // One context through all sizes, each against an engine of the reference for that size alone.
  void expect_agreement(const Plan& plan, double least_cosine) const {
    const auto engine = load_engine(plan);
    ASSERT_TRUE(engine) << engine.error().message;
    const bool ours = (*engine)->inspect().declined.empty();
    const auto context = (*engine)->create_execution_context();
    ASSERT_TRUE(context) << context.error().message;
    Plan oracle = plan;
    oracle.provider = "reference";
    const std::vector<Dims> sizes = {
        {96, 64, 3}, {64, 64, 3}, {128, 96, 3}, {64, 96, 3}, {96, 64, 3}};
    std::map<Dims, test::Outputs> wanted;
    for (const Dims& size : sizes) {
      SCOPED_TRACE(to_string(size));
      const auto set = (*context)->set_input_shape(size);
      ASSERT_TRUE(set) << set.error().message;
      const EngineInfo& info = (*context)->info();
      ASSERT_EQ(info.input.dims, size);
      test::Bindings bindings(info, {picture(size), picture(size)});
      const fovea::test::AllocationGuard guard;
      const auto done = (*context)->execute(bindings.batch());
      // oneDNN's first run at a size allocates, and so does the reference.
      if (ours) {
        EXPECT_EQ(guard.count(), 0U);
      }
      ASSERT_TRUE(done) << done.error().message;
      EXPECT_TRUE(bindings.guards_are_intact());
      if (!wanted.contains(size)) {
        const auto reference = load_engine(oracle, size);
        ASSERT_TRUE(reference) << reference.error().message;
        wanted[size] = test::run_engine(**reference, {picture(size)})[0];
      }
      const test::Outputs& want = wanted[size];
      ASSERT_EQ(want.size(), info.outputs.size());
      for (std::size_t k = 0; k < want.size(); ++k) {
        for (const std::size_t item : {0, 1}) {
          const auto got = bindings.output(info, item, k);
          ASSERT_EQ(got.size(), want[k].size());
          EXPECT_GT(cosine(got, want[k]), least_cosine) << info.outputs[k].name;
        }
      }
    }
  }

  static double cosine(std::span<const float> a, std::span<const float> b) {
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

  std::filesystem::path folder_;
  BuilderConfig config_;
};

TEST_P(DynamicModel, EverySizeAgreesWithTheReference) {
  auto plan = build();
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->network.head.name, "dfl");
  EXPECT_EQ(plan->network.profile, config_.profile);
  expect_agreement(*plan, 0.99999);

  const auto bytes = serialize(*plan);
  const auto manifest = read_manifest(bytes);
  ASSERT_TRUE(manifest);
  EXPECT_THAT(*manifest, HasSubstr("\"profile\""));
  const auto read = deserialize(bytes);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(serialize(*read), bytes);
  EXPECT_EQ(serialize(*build()), bytes);

  // Calibrated at opt; the ranges serve every size.
  const auto source = [](std::size_t index, std::span<std::byte> to) -> Result<> {
    std::mt19937 random(static_cast<unsigned>(index));
    for (std::byte& byte : to) byte = static_cast<std::byte>(random() & 0xFF);
    return {};
  };
  const auto table = calibrate(plan->network, kLeastCalibrationPictures, source, {});
  ASSERT_TRUE(table) << table.error().message;
  const auto quantised = quantize(plan->network, *table);
  ASSERT_TRUE(quantised) << quantised.error().message;
  plan->precision = Precision::kInt8;
  expect_agreement(*plan, 0.99);
}

TEST_P(DynamicModel, SizesThatDoNotBelongAreRefused) {
  const auto plan = build();
  ASSERT_TRUE(plan) << plan.error().message;
  const auto engine = load_engine(*plan);
  ASSERT_TRUE(engine);
  const auto context = (*engine)->create_execution_context();
  ASSERT_TRUE(context);
  EXPECT_THAT(message((*context)->set_input_shape({160, 64, 3})),
              HasSubstr("input height is 160; the profile (min 1x3x64x64, opt 1x3x96x64, max "
                        "2x3x128x96) takes 64..128"));
  EXPECT_THAT(message((*context)->set_input_shape({64, 32, 3})), HasSubstr("input width is 32"));
  EXPECT_THAT(message((*context)->set_input_shape({64, 64})), HasSubstr("[height, width, 3]"));
  EXPECT_THAT(message((*context)->set_input_shape({100, 64, 3})),
              HasSubstr("height 100 is no multiple of the model's stride 32: 96 or 128 would be"));
  EXPECT_EQ((*context)->info().input.dims, (Dims{96, 64, 3})) << "the old shape stays";
  EXPECT_THAT(message(load_engine(*plan, {64, 1024, 3})), HasSubstr("takes 64..96"));
}

TEST_P(DynamicModel, OneSizeOfManyMustFitTheModelsStride) {
  config_.profile = {};
  config_.input_width = 128;
  config_.input_height = 96;
  const auto plan = build();
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->network.value(plan->network.inputs[0]).dims, (Dims{-1, 96, 128, 3}));
  config_.input_width = 100;
  EXPECT_THAT(message(build()), HasSubstr("input size 100x96 (width x height) does not fit the "
                                          "graph; width 100 is no multiple of the model's stride "
                                          "32: 96 or 128 would be"));
  // All its maps have the sizes of those of 96, so the graph alone would take it.
  config_.input_width = 95;
  EXPECT_THAT(message(build()), HasSubstr("width 95 is no multiple"));
}

TEST_P(DynamicModel, BadProfilesAreRefusedWhenBuilding) {
  config_.profile = *parse_profile("1x3x70x64", "1x3x96x64", "2x3x128x128");
  EXPECT_THAT(message(build()),
              HasSubstr("profile min 1x3x70x64 does not fit the graph; height 70 is no multiple"));
  config_.profile = *parse_profile("data:1x3x64x64", "", "2x3x128x128");
  EXPECT_THAT(message(build()), HasSubstr("names input 'data'; the model's is 'images'"));
  config_.max_batch = 1;
  EXPECT_THAT(message(build()), HasSubstr("max_batch is 1 but the profile's 2"));
  config_.max_batch = 2;
  test::make_yolo(GetParam(), {.height = 96, .width = 64, .batch = -1})
      .save(folder_ / "model.onnx");
  config_.profile = *parse_profile(kMin, kOpt, kMax);
  EXPECT_THAT(message(build()), HasSubstr("the model fixes it to 96: export it with dynamic axes"));
}

INSTANTIATE_TEST_SUITE_P(Models, DynamicModel,
                         ::testing::Values(test::YoloModel::kV8n, test::YoloModel::kV11n),
                         [](const auto& test) { return test::to_string(test.param); });

TEST(FixedModel, SaysThatItsShapeIsFixed) {
  test::SmallNetwork n(16, 16);
  Plan plan;
  plan.network = n.finish({n.conv(n.stem(8), {.in = 8, .out = 8})});
  const auto engine = load_engine(plan);
  ASSERT_TRUE(engine) << engine.error().message;
  const auto context = (*engine)->create_execution_context();
  ASSERT_TRUE(context);
  EXPECT_TRUE((*context)->set_input_shape({16, 16, 3}));
  EXPECT_THAT(message((*context)->set_input_shape({32, 16, 3})), HasSubstr("[16, 16, 3] only"));
  EXPECT_THAT(message(load_engine(plan, {32, 16, 3})),
              HasSubstr("input height is 32; the model fixes it to 16"));
}

}  // namespace
}  // namespace fovea::engine
