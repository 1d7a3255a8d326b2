// From folders of pictures to an int8 plan, with a small detector on the reference provider and
// pictures that no codec has to read.
#include "nodes/detector/accuracy/quantized_build.hpp"

#include <filesystem>
#include <fstream>
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "tests/engine/small_network.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSide = 64;
constexpr std::int64_t kClasses = 3;
constexpr std::int64_t kRegMax = 4;

// One level of stride 8. Its logits lie around 0, so that there is something to detect.
// `pose`: with two points, each with a visibility, per anchor.
engine::Plan small_detector(std::string provider = "reference", bool pose = false) {
  engine::test::SmallNetwork n(kSide, kSide);
  auto x = n.stem(8);
  x = n.conv(x, {.in = 8, .out = 8, .kernel = 3, .stride = 2});
  x = n.conv(n.c2f(x, 8, 8), {.in = 8, .out = 16, .kernel = 3, .stride = 2});
  const auto box =
      n.conv(x, {.in = 16, .out = 4 * kRegMax, .activation = engine::Activation::kNone});
  const auto cls = n.conv(x, {.in = 16, .out = kClasses, .activation = engine::Activation::kNone});
  engine::Plan plan;
  plan.provider = std::move(provider);
  plan.model_hash = "of the model";
  if (pose) {
    const auto points = n.conv(x, {.in = 16, .out = 6, .activation = engine::Activation::kNone});
    plan.network = n.finish({box, cls, points});
    plan.network.value(points).name = "kpt0";
  } else {
    plan.network = n.finish({box, cls});
  }
  plan.network.value(box).name = "box0";
  plan.network.value(cls).name = "cls0";
  constexpr std::array<std::uint32_t, 1> kStrides{8};
  plan.network.head.name = "dfl";
  plan.network.head.spec = dfl_head(kClasses, kRegMax, kStrides);
  if (pose) {
    plan.network.head.spec =
        dfl_head(kClasses, kRegMax, kStrides, Suppression::kNeeded,
                 LevelMap{OutputRole::kKeypoints, OutputEncoding::kTwiceOffset, 6, 3});
  }
  plan.network.class_names = {"a", "b", "c"};
  EXPECT_TRUE(engine::infer_shapes(plan.network, 1));
  return plan;
}

// A picture as its file's name says: noise over blocks.
Result<Picture> imagine(const std::string& path) {
  if (path.find("broken") != std::string::npos) {
    return fail(ErrorCode::kCorrupt, path + ": not a picture");
  }
  std::seed_seq seed(path.end() - 8, path.end());
  std::mt19937 random(seed);
  Picture picture{80, 60, std::vector<std::byte>(80 * 60 * 3)};
  for (std::byte& value : picture.bgr) value = static_cast<std::byte>(random() & 0xFF);
  return picture;
}

class QuantizedBuild : public testing::Test {
 protected:
  QuantizedBuild()
      : folder_(fs::temp_directory_path() / ("fovea-quantized-" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~QuantizedBuild() override { fs::remove_all(folder_); }

  fs::path pictures(const std::string& name, int count) const {
    fs::create_directories(folder_ / name);
    for (int i = 0; i < count; ++i) {
      std::ofstream(folder_ / name / (std::to_string(1000 + i) + ".jpg")) << name << i;
    }
    return folder_ / name;
  }

  static QuantizedBuildRequest request(const Calibrated& calibrated, const fs::path& samples) {
    QuantizedBuildRequest result;
    result.fp32 = small_detector();
    result.table = calibrated.table;
    auto set = read_sample_set(samples);
    EXPECT_TRUE(set) << set.error().message;
    result.samples = *set;
    return result;
  }

  fs::path folder_;
};

TEST_F(QuantizedBuild, CalibrationFolderMustHaveEnoughPictures) {
  const auto refused = [&](const fs::path& folder, ErrorCode code, const std::string& text) {
    const auto result = calibrate_from({.folder = folder, .cache = {}}, small_detector(), imagine);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
  };
  refused(folder_ / "absent", ErrorCode::kNotFound, "absent");
  refused(pictures("none", 0), ErrorCode::kNotFound, "no pictures there");
  refused(pictures("few", 7), ErrorCode::kInvalidArgument,
          "7 pictures; calibration needs at least 8");
  refused({}, ErrorCode::kInvalidArgument, "at least 8 calibration pictures");
  const fs::path broken = pictures("broken", 9);
  refused(broken, ErrorCode::kCorrupt, "not a picture; take it out of the folder");
}

TEST_F(QuantizedBuild, CacheFileIsReusedByteForByte) {
  const CalibrationRequest request{.folder = pictures("calib", 9), .cache = folder_ / "t.json"};
  const engine::Plan plan = small_detector();
  const auto first = calibrate_from(request, plan, imagine);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_FALSE(first->reused);
  EXPECT_NE(first->note.find("9 calibration pictures; 32 or more are better"), std::string::npos);
  const auto no_reader = [](const std::string&) -> Result<Picture> {
    return fail(ErrorCode::kInternal, "nothing needs to be decoded");
  };
  const auto second = calibrate_from(request, plan, no_reader);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_TRUE(second->reused);
  EXPECT_EQ(second->table, first->table);
  // The file alone will do.
  const auto alone = calibrate_from({.folder = {}, .cache = request.cache}, plan, no_reader);
  ASSERT_TRUE(alone) << alone.error().message;
  EXPECT_EQ(alone->table, first->table);
  // Another picture: another table.
  std::ofstream(request.folder / "1003.jpg") << "changed";
  const auto third = calibrate_from(request, plan, imagine);
  ASSERT_TRUE(third);
  EXPECT_FALSE(third->reused);
  EXPECT_NE(third->replaced.find("other pictures"), std::string::npos) << third->replaced;
  EXPECT_NE(third->table.identity, first->table.identity);
}

TEST_F(QuantizedBuild, DamagedOrForeignCacheFileIsReplacedOrRefused) {
  const CalibrationRequest request{.folder = pictures("calib", 9), .cache = folder_ / "t.json"};
  std::ofstream(request.cache) << "{ half a table";
  const auto replaced = calibrate_from(request, small_detector(), imagine);
  ASSERT_TRUE(replaced);
  EXPECT_FALSE(replaced->reused);
  engine::Plan other = small_detector();
  other.model_hash = "of another";
  const auto foreign = calibrate_from({.folder = {}, .cache = request.cache}, other, imagine);
  ASSERT_FALSE(foreign);
  EXPECT_NE(foreign.error().message.find("another model"), std::string::npos);
}

TEST_F(QuantizedBuild, EqualPicturesCountOnceAndTooFewDistinctOnesAreRefusedWithBothNumbers) {
  const fs::path folder = pictures("equal", 9);
  for (int i = 3; i < 9; ++i) {
    std::ofstream(folder / (std::to_string(1000 + i) + ".jpg")) << "the same";
  }
  const auto copies = calibrate_from({.folder = folder, .cache = {}}, small_detector(), imagine);
  ASSERT_FALSE(copies);
  EXPECT_NE(copies.error().message.find("9 pictures, but only 4 distinct"), std::string::npos)
      << copies.error().message;
  // Files that differ in their bytes and in no pixel.
  const auto one_picture = [](const std::string&) { return imagine("always/1000.jpg"); };
  const auto pixels =
      calibrate_from({.folder = pictures("pixels", 9), .cache = folder_ / "t.json"},
                     small_detector(), one_picture);
  ASSERT_FALSE(pixels);
  EXPECT_NE(pixels.error().message.find("9 pictures, but only 1 distinct"), std::string::npos)
      << pixels.error().message;
  EXPECT_FALSE(fs::exists(folder_ / "t.json"));
  // Enough of them, and one copy.
  const fs::path enough = pictures("enough", 9);
  fs::copy_file(enough / "1000.jpg", enough / "1009.jpg");
  const auto noted = calibrate_from(
      {.folder = enough, .cache = {}}, small_detector(), [](const std::string& path) {
        return imagine(path.find("1009") == std::string::npos ? path : "enough/1000.jpg");
      });
  ASSERT_TRUE(noted) << noted.error().message;
  EXPECT_NE(noted->note.find("10 calibration pictures, 9 of them distinct"), std::string::npos)
      << noted->note;
}

TEST_F(QuantizedBuild, TableThatIsNoJsonOrNoTableIsNamedWithWhatIsWrong) {
  const fs::path table = folder_ / "t.json";
  const auto refusal = [&](const std::string& text) {
    std::ofstream(table, std::ios::binary) << text;
    const auto result = calibrate_from({.folder = {}, .cache = table}, small_detector(), imagine);
    EXPECT_FALSE(result);
    return result ? "" : result.error().message;
  };
  for (const std::string text : {"\x1b[31mnot JSON", "", "{ \"format\": \"fovea cal"}) {
    const std::string message = refusal(text);
    EXPECT_EQ(message.find(table.string() + ": calibration table: no JSON: line 1"), 0U) << message;
    EXPECT_EQ(message.find('\x1b'), std::string::npos);
  }
  EXPECT_NE(refusal("{\n\n\"format\" ?").find("line 3"), std::string::npos);
  EXPECT_NE(refusal("[1, 2]").find("no calibration table: it has no \"format\""),
            std::string::npos);
  EXPECT_NE(refusal("{\"format\": \"fovea calibration 2\"}").find("model_hash"),
            std::string::npos);
}

TEST_F(QuantizedBuild, TableThatCannotBeKeptIsAnErrorBeforeAnyPictureIsRead) {
  std::ofstream(folder_ / "file") << "in the way";
  const auto result = calibrate_from({.folder = pictures("calib", 9),
                                      .cache = folder_ / "file" / "t.json",
                                      .must_keep = true},
                                     small_detector(), [](const std::string&) -> Result<Picture> {
                                       return fail(ErrorCode::kInternal, "a picture was read");
                                     });
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("t.json"), std::string::npos) << result.error().message;
}

// The same network, blind: every class logit is some 30 lower.
engine::Plan blind_detector() {
  engine::Plan plan = small_detector();
  engine::NetworkDefinition& network = plan.network;
  const auto bias = network.add_constant("low", std::make_shared<const engine::Constant>(
                                                    engine::Constant::floats({3}, {-30, -30, -30})));
  for (engine::Layer& layer : network.layers) {
    if (network.value(layer.outputs[0]).name == "cls0") layer.inputs[2] = bias;
  }
  return plan;
}

TEST_F(QuantizedBuild, PicturesInWhichFp32FindsNothingMeasureNothingAndThatIsSaid) {
  const auto calibrated =
      calibrate_from({.folder = pictures("calib", 12), .cache = {}}, blind_detector(), imagine);
  ASSERT_TRUE(calibrated) << calibrated.error().message;
  QuantizedBuildRequest wanted = request(*calibrated, pictures("samples", 5));
  wanted.fp32 = blind_detector();
  std::vector<std::string> stages;
  const auto refused =
      build_quantized(wanted, imagine, [&](std::string_view stage, double) {
        if (stages.empty() || stages.back() != stage) stages.emplace_back(stage);
      });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  for (const char* part : {"nothing can be measured", "fp32 finds nothing", "on the 5 pictures",
                           "--min-agreement 0"}) {
    EXPECT_NE(refused.error().message.find(part), std::string::npos) << refused.error().message;
  }
  EXPECT_EQ(stages, (std::vector<std::string>{"accuracy: f32", "accuracy"})) << "candidates tried";

  wanted.guard.min_agreement = 0;
  const auto allowed = build_quantized(wanted, imagine);
  ASSERT_TRUE(allowed) << allowed.error().message;
  EXPECT_EQ(allowed->plan.precision, engine::Precision::kInt8);
  EXPECT_NE(allowed->report.verdict.find("unmeasured"), std::string::npos);
  EXPECT_EQ(allowed->report.verdict.find("agrees"), std::string::npos);
  EXPECT_TRUE(allowed->report.trials.empty());

  wanted.guard.min_agreement = 93;
  wanted.best = true;
  const auto best = build_quantized(wanted, imagine);
  ASSERT_TRUE(best) << best.error().message;
  EXPECT_EQ(best->plan.precision, engine::Precision::kFp32);
  EXPECT_NE(best->reason.find("nothing can be measured"), std::string::npos) << best->reason;
}

TEST_F(QuantizedBuild, LabelledSetOfWhichFp32FindsNothingMeasuresNothing) {
  const auto calibrated =
      calibrate_from({.folder = pictures("calib", 12), .cache = {}}, blind_detector(), imagine);
  ASSERT_TRUE(calibrated);
  const fs::path set = folder_ / "set";
  pictures("set/images", 4);
  fs::create_directories(set / "labels");
  std::ofstream(set / "classes.txt") << "a\nb\nc\n";
  for (int i = 0; i < 4; ++i) {
    std::ofstream(set / "labels" / (std::to_string(1000 + i) + ".txt")) << "1 0.5 0.5 0.4 0.4\n";
  }
  QuantizedBuildRequest wanted = request(*calibrated, set);
  wanted.fp32 = blind_detector();
  const auto refused = build_quantized(wanted, imagine);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("nothing can be measured: fp32 reaches mAP50-95 0.0"),
            std::string::npos)
      << refused.error().message;
  EXPECT_NE(refused.error().message.find("--max-map-loss 100"), std::string::npos);
}

TEST_F(QuantizedBuild, MakesAnInt8PlanAndReportsOnIt) {
  const auto calibrated =
      calibrate_from({.folder = pictures("calib", 12), .cache = {}}, small_detector(), imagine);
  ASSERT_TRUE(calibrated) << calibrated.error().message;
  QuantizedBuildRequest wanted = request(*calibrated, pictures("samples", 5));
  wanted.guard.min_agreement = 30;
  const auto built = build_quantized(wanted, imagine);
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_EQ(built->plan.precision, engine::Precision::kInt8);
  EXPECT_FALSE(built->plan.network.quantization.empty());
  const auto report = nlohmann::json::parse(built->plan.accuracy_report);
  EXPECT_EQ(report["pictures"], 5);
  EXPECT_EQ(report["labelled"], false);
  const auto& recipe = report["trials"][0];
  EXPECT_GT(recipe["agreement"], 30);
  EXPECT_LT(recipe["agreement"], 100);
  EXPECT_GT(recipe["dlogit"], 0);
  EXPECT_LT(recipe["dlogit"], 0.5);
  // It lies in the manifest, and the plan survives its file.
  const auto bytes = engine::serialize(built->plan);
  const auto manifest = engine::read_manifest(bytes);
  ASSERT_TRUE(manifest);
  EXPECT_EQ(nlohmann::json::parse(*manifest)["accuracy"], report);
  const auto again = build_quantized(wanted, imagine);
  ASSERT_TRUE(again);
  EXPECT_EQ(engine::serialize(again->plan), bytes);
}

TEST_F(QuantizedBuild, PoseModelIsJudgedByItsPoints) {
  const engine::Plan fp32 = small_detector("reference", true);
  const auto set = read_sample_set(pictures("samples", 5));
  ASSERT_TRUE(set);
  const auto loaded = engine::load_engine(fp32);
  ASSERT_TRUE(loaded) << loaded.error().message;
  const auto meter = AccuracyMeter::create(*loaded, *set, imagine);
  ASSERT_TRUE(meter) << meter.error().message;
  EXPECT_EQ(meter->task(), Task::kPose);
  ASSERT_GT(meter->findings(), 0U);
  const auto itself = meter->measure(*loaded, Extent::kAll);
  ASSERT_TRUE(itself) << itself.error().message;
  EXPECT_NEAR(itself->agreement, 100, 1e-6);
  EXPECT_NEAR(itself->lax_agreement, 100, 1e-6);
  EXPECT_NEAR(itself->dlogit, 0, 1e-9);
  // The same network, but for the bias of its points: each lies some hundred pixels further.
  engine::Plan moved = fp32;
  const auto bias =
      moved.network.add_constant("far", std::make_shared<const engine::Constant>(
                                            engine::Constant::floats({6}, {30, 30, 9, 30, 30, 9})));
  for (engine::Layer& layer : moved.network.layers) {
    if (moved.network.value(layer.outputs[0]).name == "kpt0") layer.inputs[2] = bias;
  }
  const auto candidate = engine::load_engine(moved);
  ASSERT_TRUE(candidate) << candidate.error().message;
  const auto measured = meter->measure(*candidate, Extent::kAll);
  ASSERT_TRUE(measured) << measured.error().message;
  EXPECT_NEAR(measured->lax_agreement, 100, 1e-6) << "boxes";
  EXPECT_LT(measured->agreement, 50);
  EXPECT_GT(measured->dlogit, 1) << "no class logit moved, but points did";
  GuardReport report;
  report.task = meter->task();
  EXPECT_FALSE(within_budget(report, *measured));
}

TEST_F(QuantizedBuild, RefusesInt8BeyondTheBudgetAndBestFallsBackToF32) {
  const auto calibrated =
      calibrate_from({.folder = pictures("calib", 12), .cache = {}}, small_detector(), imagine);
  ASSERT_TRUE(calibrated);
  QuantizedBuildRequest wanted = request(*calibrated, pictures("samples", 2));
  wanted.guard.min_agreement = 100;
  wanted.guard.max_lifted_macs = 0;
  const auto refused = build_quantized(wanted, imagine);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(refused.error().message.find("int8 refused"), std::string::npos);
  EXPECT_NE(refused.error().message.find("--max-map-loss"), std::string::npos);
  wanted.best = true;
  const auto best = build_quantized(wanted, imagine);
  ASSERT_TRUE(best) << best.error().message;
  EXPECT_EQ(best->plan.precision, engine::Precision::kFp32);
  EXPECT_TRUE(best->plan.network.quantization.empty());
  EXPECT_EQ(best->report.verdict.rfind("fp32: int8 refused", 0), 0U) << best->report.verdict;
  EXPECT_EQ(best->reason.rfind("best: fp32; ms a picture here: fp32 ", 0), 0U) << best->reason;
  EXPECT_NE(best->reason.find("int8 left out: beyond the budget"), std::string::npos)
      << best->reason;
}

// The reference runs half precision as f32, so it always is within budget.
TEST_F(QuantizedBuild, BestMeasuresHalfPrecisionTooAndKeepsTimesOutOfItsReport) {
  const auto calibrated =
      calibrate_from({.folder = pictures("calib", 12), .cache = {}}, small_detector(), imagine);
  ASSERT_TRUE(calibrated);
  QuantizedBuildRequest wanted = request(*calibrated, pictures("samples", 2));
  wanted.best = true;
  wanted.guard.min_agreement = 0;
  const auto best = build_quantized(wanted, imagine);
  ASSERT_TRUE(best) << best.error().message;
  ASSERT_EQ(best->report.halves.size(), 2U);
  for (const auto& [precision, measured] : best->report.halves) {
    EXPECT_TRUE(within_budget(best->report, measured)) << to_string(precision);
  }
  for (const char* part : {"fp32 ", "fp16 ", "bf16 ", "int8 "}) {
    EXPECT_NE(best->reason.find(part), std::string::npos) << best->reason;
  }
  EXPECT_EQ(best->reason.rfind("best: " + std::string(to_string(best->plan.precision)) + ";", 0),
            0U)
      << best->reason;
  const auto report = nlohmann::json::parse(best->plan.accuracy_report);
  EXPECT_EQ(report["fp16"]["agreement"], best->report.halves[0].second.agreement);
  EXPECT_EQ(report["bf16"]["agreement"], best->report.halves[1].second.agreement);
  EXPECT_EQ(best->plan.accuracy_report.find(" ms"), std::string::npos);
  EXPECT_EQ(report["accepted"].is_null(), best->plan.precision != engine::Precision::kInt8);
  EXPECT_TRUE(engine::load_engine(best->plan));
}

TEST_F(QuantizedBuild, WithoutPicturesToMeasureWithInt8IsTakenAndTheReasonSaysSo) {
  const auto calibrated =
      calibrate_from({.folder = pictures("calib", 12), .cache = {}}, small_detector(), imagine);
  ASSERT_TRUE(calibrated);
  QuantizedBuildRequest wanted;
  wanted.fp32 = small_detector();
  wanted.table = calibrated->table;
  const auto no_reader = [](const std::string&) -> Result<Picture> {
    return fail(ErrorCode::kInternal, "nothing is measured");
  };
  for (const bool best : {false, true}) {
    wanted.best = best;
    const auto built = build_quantized(wanted, no_reader);
    ASSERT_TRUE(built) << built.error().message;
    EXPECT_EQ(built->plan.precision, engine::Precision::kInt8);
    EXPECT_NE(built->report.verdict.find("its accuracy was not measured"), std::string::npos)
        << built->report.verdict;
    EXPECT_EQ(built->reason.find("best: int8, taken unmeasured: no pictures") == 0, best)
        << built->reason;
  }
}

TEST_F(QuantizedBuild, ProviderWithoutInt8SaysSo) {
  const auto calibrated =
      calibrate_from({.folder = pictures("calib", 12), .cache = {}}, small_detector(), imagine);
  ASSERT_TRUE(calibrated);
  QuantizedBuildRequest wanted;
  wanted.fp32 = small_detector("onednn");
  wanted.table = calibrated->table;
  const auto refused = build_quantized(wanted, imagine);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(refused.error().message.find("onednn runs fp32 only"), std::string::npos)
      << refused.error().message;
  EXPECT_EQ(refused.error().message.find("--max-map-loss"), std::string::npos)
      << refused.error().message;
  wanted.best = true;
  const auto best = build_quantized(wanted, imagine);
  ASSERT_TRUE(best);
  EXPECT_EQ(best->plan.precision, engine::Precision::kFp32);
  EXPECT_NE(best->report.verdict.find("onednn runs fp32 only"), std::string::npos);
  EXPECT_EQ(best->reason, "") << "nothing was timed";
}

TEST_F(QuantizedBuild, LabelledSetGivesALoss) {
  const fs::path set = folder_ / "set";
  pictures("set/images", 4);
  fs::create_directories(set / "labels");
  std::ofstream(set / "classes.txt") << "a\nb\nc\n";
  for (int i = 0; i < 4; ++i) {
    std::ofstream(set / "labels" / (std::to_string(1000 + i) + ".txt")) << "1 0.5 0.5 0.4 0.4\n";
  }
  const auto samples = read_sample_set(set);
  ASSERT_TRUE(samples) << samples.error().message;
  EXPECT_TRUE(samples->labelled);
  auto fp32 = engine::load_engine(small_detector());
  ASSERT_TRUE(fp32) << fp32.error().message;
  const auto meter = AccuracyMeter::create(*fp32, *samples, imagine);
  ASSERT_TRUE(meter) << meter.error().message;
  const auto same = meter->measure(*fp32, Extent::kAll);
  ASSERT_TRUE(same);
  EXPECT_EQ(same->loss, 0);
  EXPECT_EQ(same->half_width, 0);
  EXPECT_EQ(same->dlogit, 0);
  EXPECT_NEAR(same->agreement, 100, 1e-9);
  SampleSet other = *samples;
  other.classes = {"x"};
  EXPECT_FALSE(AccuracyMeter::create(*fp32, other, imagine));
}

}  // namespace
}  // namespace fovea
