// Tuning chooses among kernels that compute the same, remembers what it chose, and never trusts
// what it finds: not a kernel that leaves pixels out, not a timing cache that somebody wrote over.
#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/cpu/native/tuner.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/cpu/native/provider.hpp"
#include "nodes/detector/engine/plan/timing_cache.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine/thread_choice.hpp"
#include "tests/engine/run_engine.hpp"
#include "tests/engine/small_network.hpp"

namespace fovea::engine {
namespace {

namespace fs = std::filesystem;
using test::run_engine;
using test::SmallNetwork;
using ::testing::HasSubstr;

constexpr std::int64_t kHeight = 48;
constexpr std::int64_t kWidth = 40;

Plan small_plan() {
  SmallNetwork n(kHeight, kWidth);
  const ValueId x = n.c2f(n.stem(32), 32, 16);
  Plan plan;
  plan.threads = 2;
  plan.network =
      n.finish({n.upsample(n.conv(x, {.in = 32, .out = 48, .kernel = 3, .stride = 2})), x});
  EXPECT_TRUE(infer_shapes(plan.network, 1));
  return plan;
}

std::shared_ptr<const Engine> load(const Plan& plan) {
  auto engine = load_engine(plan);
  EXPECT_TRUE(engine) << engine.error().message;
  return engine ? *engine : nullptr;
}

std::string tactic_that_runs(const Engine& engine, const std::string& layer) {
  for (const LayerReport& report : engine.inspect().layers) {
    if (report.layer == layer) return report.implementation;
  }
  return "no such layer";
}

// Of every convolution the tactic that its kernel guesses second best.
LayerTactics second_guesses(const Plan& plan) {
  LayerTactics tactics;
  cpu::native::CompileOptions options;
  options.on_convolution = [&](const cpu::native::ConvolutionSite& site) -> Result<> {
    tactics[site.layer] = kernels::enumerate_tactics(site.spec).names[1];
    return {};
  };
  EXPECT_TRUE(cpu::native::compile(plan.network, options));
  return tactics;
}

// "avx512/": how tactics of f32 convolutions begin on this CPU.
std::string float_isa() {
  const auto* tiles = kernels::best_tiles(DataType::kFloat32, kernels::cpu_features());
  return std::string(tiles->isa) + "/";
}

class Tuner : public testing::Test {
 protected:
  void SetUp() override {
    if (kernels::best_tiles(DataType::kFloat32, kernels::cpu_features()) == nullptr)
      GTEST_SKIP() << "needs vectors";
    std::string name = testing::TempDir() + "fovea-tuner-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  fs::path cache() const { return folder_ / "timing.json"; }
  TuningReport tune(Plan& plan, std::int32_t level = 2, double max_seconds = 60) const {
    TuningReport report;
    const auto tuned = tune_plan(plan, {.level = level,
                                        .max_seconds = max_seconds,
                                        .cache = cache(),
                                        .report = [&](const TuningReport& r) { report = r; }});
    EXPECT_TRUE(tuned) << tuned.error().message;
    return report;
  }
  std::string text() const {
    std::ifstream stream(cache(), std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  void write(const std::string& text) const {
    std::ofstream(cache(), std::ios::binary | std::ios::trunc) << text;
  }

  fs::path folder_;
};

TEST_F(Tuner, EveryLevelNamesARealTacticOfEveryConvolutionAndChangesNoResult) {
  Plan plan = small_plan();
  const std::vector<std::vector<std::uint8_t>> pictures = {
      SmallNetwork::picture(kHeight, kWidth, 3)};
  const auto want = run_engine(*load(plan), pictures)[0];
  for (const std::int32_t level : {1, 2, 3}) {
    SCOPED_TRACE(level);
    fs::remove(cache());
    const TuningReport report = tune(plan, level);
    EXPECT_EQ(report.layers, 6U);
    EXPECT_EQ(report.warning, "");
    EXPECT_THAT(report.rejected, testing::IsEmpty());
    EXPECT_EQ(report.untuned_ms > 0, level > 1);
    ASSERT_EQ(plan.tactics.size(), 6U);
    const auto engine = load(plan);
    for (const auto& [layer, tactic] : plan.tactics) {
      EXPECT_EQ(tactic_that_runs(*engine, layer), tactic);
    }
    EXPECT_THAT(engine->inspect().declined, testing::IsEmpty());
    const auto got = run_engine(*engine, pictures)[0];
    for (std::size_t k = 0; k < want.size(); ++k) {
      for (std::size_t i = 0; i < want[k].size(); ++i) {
        ASSERT_NEAR(got[k][i], want[k][i], 1e-4F) << k << " " << i;
      }
    }
  }
  tune(plan, 0);
  EXPECT_THAT(plan.tactics, testing::IsEmpty());
}

TEST_F(Tuner, SecondBuildTakesEverythingFromTheTimingCacheAndIsTheSameFile) {
  Plan first = small_plan();
  const TuningReport measured = tune(first);
  EXPECT_FALSE(measured.cached);
  const std::string before = text();
  Plan second = small_plan();
  const TuningReport read = tune(second);
  EXPECT_TRUE(read.cached);
  EXPECT_EQ(read.known, read.layers);
  EXPECT_EQ(read.changed, measured.changed);
  EXPECT_EQ(read.tuned_ms, measured.tuned_ms);
  EXPECT_EQ(serialize(first), serialize(second));
  EXPECT_EQ(text(), before);
}

TEST_F(Tuner, PlantedTimingCacheForcesItsChoice) {
  Plan plan = small_plan();
  tune(plan);
  auto planted = read_timing_cache(cache());
  ASSERT_TRUE(planted) << planted.error().message;
  ASSERT_EQ(planted->size(), 1U);
  TimingTable& table = planted->begin()->second;
  ASSERT_EQ(table.networks.size(), 1U);
  LayerTactics& tactics = table.networks.begin()->second.tactics;
  ASSERT_EQ(tactics, plan.tactics);
  tactics = second_guesses(plan);
  ASSERT_NE(tactics, plan.tactics);
  ASSERT_TRUE(merge_into_file(*planted, cache()));
  const LayerTactics wanted = tactics;
  EXPECT_TRUE(tune(plan).cached);
  EXPECT_EQ(plan.tactics, wanted);
  const auto engine = load(plan);
  for (const auto& [layer, tactic] : wanted) EXPECT_EQ(tactic_that_runs(*engine, layer), tactic);
}

TEST_F(Tuner, TacticThatCannotBeHadIsMeasuredAnew) {
  Plan plan = small_plan();
  tune(plan);
  auto planted = read_timing_cache(cache());
  ASSERT_TRUE(planted);
  planted->begin()->second.networks.begin()->second.tactics.begin()->second = "avx9000/1x1/magic";
  ASSERT_TRUE(merge_into_file(*planted, cache()));
  const TuningReport report = tune(plan);
  EXPECT_THAT(report.warning, HasSubstr("avx9000/1x1/magic"));
  EXPECT_FALSE(report.cached);
  EXPECT_EQ(report.known, report.layers) << "the layers' own times are still good";
  EXPECT_EQ(load(plan)->inspect().declined, std::vector<std::string>());
  EXPECT_TRUE(tune(plan).cached) << "the new choice is not kept";
}

TEST_F(Tuner, DamagedTimingCachesAreIgnoredAloudAndReplaced) {
  Plan plan = small_plan();
  SmallNetwork n(kHeight, kWidth);
  plan.network = n.finish({n.stem(32)});
  tune(plan, 1);
  const std::string good = text();
  std::string flipped = good;
  flipped[good.find("/weights")] = '_';
  std::string renumbered = good;  // still JSON
  renumbered[good.find("x", good.find(float_isa())) + 1] = '1';
  const std::pair<const char*, std::string> damages[] = {
      {"empty", ""},
      {"zero bytes", std::string(good.size(), '\0')},
      {"half", good.substr(0, good.size() / 2)},
      {"without its end", good.substr(0, good.size() - 3)},
      {"a flipped byte", flipped},
      {"another number", renumbered},
      {"not JSON", "timing cache"},
      {"other JSON", "{\"format\": \"fovea calibration 1\"}"},
      {"another shape", "{\"format\": \"fovea timing cache 1\", \"crc32c\": 7, \"entries\": []}"},
      {"a later format", "{\"format\": \"fovea timing cache 9\"}"}};
  for (const auto& [name, bytes] : damages) {
    SCOPED_TRACE(name);
    write(bytes);
    const TuningReport report = tune(plan, 1);
    EXPECT_THAT(report.warning, HasSubstr(cache().string()));
    EXPECT_EQ(report.known, 0U);
    EXPECT_EQ(plan.tactics.size(), 1U);
    const TuningReport again = tune(plan, 1);
    EXPECT_EQ(again.warning, "");
    EXPECT_TRUE(again.cached);
  }
}

TEST_F(Tuner, TimingCacheThatCannotBeReadOrWrittenOnlyCostsTime) {
  Plan plan = small_plan();
  fs::create_directory(cache());  // in its place
  EXPECT_THAT(tune(plan, 1).warning, HasSubstr("not written"));
  EXPECT_EQ(plan.tactics.size(), 6U);
  fs::remove(cache());
  ASSERT_EQ(::mkfifo(cache().c_str(), 0600), 0);
  EXPECT_THAT(tune(plan, 1).warning, HasSubstr("not written: " + cache().string() + ": not a"));
  EXPECT_EQ(plan.tactics.size(), 6U);
  fs::remove_all(folder_);
  std::ofstream(folder_) << "a file where the folder was";
  EXPECT_THAT(tune(plan, 1).warning, HasSubstr("not written"));
  EXPECT_EQ(plan.tactics.size(), 6U);
  fs::remove(folder_);
}

TEST_F(Tuner, TimesFromElsewhereAreNotTaken) {
  Plan plan = small_plan();
  tune(plan, 1);
  Plan alone = small_plan();
  alone.threads = 1;
  EXPECT_EQ(tune(alone, 1).known, 0U);
  const auto both = read_timing_cache(cache());
  ASSERT_TRUE(both);
  EXPECT_EQ(both->size(), 2U) << "one environment by thread count";
  EXPECT_TRUE(tune(plan, 1).cached) << "the first one's entries are gone";
}

TEST_F(Tuner, SharesLayersBetweenNetworks) {
  Plan plan = small_plan();
  tune(plan);
  SmallNetwork n(kHeight, kWidth, /*seed=*/9);  // other weights
  Plan other = small_plan();
  other.network = n.finish({n.c2f(n.stem(32), 32, 16)});
  ASSERT_TRUE(infer_shapes(other.network, 1));
  const TuningReport report = tune(other);
  EXPECT_FALSE(report.cached);
  EXPECT_GE(report.known, 3U);
}

TEST_F(Tuner, OutOfTimeKeepsTheFirstGuessAndIsNotRemembered) {
  Plan plan = small_plan();
  const TuningReport report = tune(plan, 2, /*max_seconds=*/0);
  EXPECT_EQ(report.changed, 0U);
  EXPECT_THAT(report.note, HasSubstr("stopped after 0 s"));
  EXPECT_FALSE(tune(plan).cached);
}

TEST_F(Tuner, StoppedTuningKeepsWhatItMeasuredForTheNextBuild) {
  Plan plan = small_plan();
  int asked = 0;
  TuningConfig config{.level = 2, .cache = cache()};
  config.keep_going = [&] { return ++asked <= 2; };
  const auto stopped = tune_plan(plan, config);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(plan.tactics, testing::IsEmpty());
  const auto kept = read_timing_cache(cache());
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_EQ(kept->begin()->second.layers.size(), 2U);
  EXPECT_THAT(kept->begin()->second.networks, testing::IsEmpty());
  const TuningReport next = tune(plan);
  EXPECT_FALSE(next.cached);
  EXPECT_GE(next.known, 2U);
  EXPECT_LT(next.known, next.layers);

  // Once all layers are measured, they are saved before the network is.
  const auto layers = [this] {
    auto table = read_timing_cache(cache()).value_or(TimingCache());
    return table.empty() ? 0 : table.begin()->second.layers.size();
  };
  const std::size_t all = layers();
  fs::remove(cache());
  config.keep_going = [&] { return layers() < all; };
  ASSERT_FALSE(tune_plan(plan, config));
  EXPECT_EQ(tune(plan).known, 6U);
}

TEST_F(Tuner, ProvidersWithoutTacticsSaySo) {
  for (const char* provider : {"onednn", "reference"}) {
    Plan plan = small_plan();
    plan.provider = provider;
    EXPECT_THAT(tune(plan).note, HasSubstr("has no choice of tactics"));
    EXPECT_THAT(plan.tactics, testing::IsEmpty());
  }
  BuilderConfig config;
  EXPECT_FALSE(can_be_tuned(config)) << "level 0";
  config.tuning.level = 1;
  EXPECT_TRUE(can_be_tuned(config));
  config.provider = "onednn";
  EXPECT_FALSE(can_be_tuned(config));
  Plan plan = small_plan();
  const auto wild = tune_plan(plan, {.level = 4});
  ASSERT_FALSE(wild);
  EXPECT_THAT(wild.error().message, HasSubstr("tuning level is 4; it must be 0..3"));
}

TEST_F(Tuner, ProgressOnlyRises) {
  Plan plan = small_plan();
  std::vector<double> seen;
  ASSERT_TRUE(
      tune_plan(plan, {.level = 2}, [&](std::string_view, double done) { seen.push_back(done); }));
  EXPECT_GE(seen.size(), 6U);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end())) << testing::PrintToString(seen);
  EXPECT_GE(seen.front(), 0);
  EXPECT_LE(seen.back(), 1);
}

TEST_F(Tuner, PlanWithForeignTacticsRunsItsFirstGuessesAndSaysWhy) {
  Plan plan = small_plan();
  plan.tactics = {{"Conv_1", "avx9000/1x1/magic"}, {"no such layer", "avx9000/1x16/weights"}};
  const std::string layer = plan.network.layers[1].name;
  plan.tactics[layer] = "avx9000/1x1/magic";
  const auto bytes = serialize(plan);
  const auto read = deserialize(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->tactics, plan.tactics);
  const auto engine = load(*read);
  ASSERT_TRUE(engine);
  const std::string runs = tactic_that_runs(*engine, layer);
  EXPECT_THAT(runs, testing::StartsWith(float_isa()));
  EXPECT_THAT(engine->inspect().declined,
              testing::Contains(testing::AllOf(HasSubstr(layer), HasSubstr("avx9000/1x1/magic"),
                                               HasSubstr(runs + " runs"))));
  EXPECT_THAT(engine->inspect().declined, testing::Contains(HasSubstr("no such layer")));
}

// A kernel with one fault.
class Faulty final : public kernels::Kernel {
 public:
  enum class Fault { kWrongSum, kPixelLeftOut, kWritesBeside };
  Faulty(std::unique_ptr<const kernels::Kernel> kernel, const kernels::ConvolutionSpec& spec,
         Fault fault)
      : kernel_(std::move(kernel)), to_(spec.destinations[0]), fault_(fault) {
    last_ = (spec.out_height * to_.repeat - 1) * to_.surface.row_stride +
            (spec.out_width * to_.repeat - 1) * to_.surface.pixel_stride;
  }
  std::string_view implementation() const override { return kernel_->implementation(); }
  std::size_t scratch_bytes(int threads) const override { return kernel_->scratch_bytes(threads); }
  void run(const kernels::Arguments& arguments, cpu::ThreadPool& pool) const override {
    auto* last = static_cast<float*>(arguments.destinations[0]) + last_;
    const float untouched = *last;
    kernel_->run(arguments, pool);
    if (fault_ == Fault::kWrongSum) *last += 1;
    if (fault_ == Fault::kPixelLeftOut) *last = untouched;
    if (fault_ == Fault::kWritesBeside) last[to_.channels] = 0;
  }

 private:
  std::unique_ptr<const kernels::Kernel> kernel_;
  kernels::Destination to_;
  Fault fault_;
  std::int64_t last_ = 0;
};

TEST_F(Tuner, KernelsThatComputeWronglyAreNamedAndNeverChosen) {
  const Plan plan = small_plan();
  const auto info = describe_engine(plan.network, "cpu", {.threads = 2});
  ASSERT_TRUE(info);
  // All but one tactic of each layer have the fault, the first guess among them.
  const struct {
    Faulty::Fault fault;
    const char* words;
  } faults[] = {{Faulty::Fault::kWrongSum, "it must be"},
                {Faulty::Fault::kPixelLeftOut, "nan; it must be"},
                {Faulty::Fault::kWritesBeside, "it writes beside its picture"}};
  for (const auto& fault : faults) {
    SCOPED_TRACE(fault.words);
    std::map<std::string, std::string> good;  // by signature
    const cpu::native::KernelFactory make = [&](const kernels::ConvolutionSpec& spec,
                                           std::string_view tactic,
                                           const kernels::CpuFeatures& features)
        -> Result<std::unique_ptr<const kernels::Kernel>> {
      FOVEA_ASSIGN(auto kernel, kernels::create_convolution(spec, tactic, features));
      good[cpu::native::signature_of(spec)] = kernels::enumerate_tactics(spec, features).names[1];
      if (tactic == good[cpu::native::signature_of(spec)]) return kernel;
      return std::unique_ptr<const kernels::Kernel>(
          std::make_unique<Faulty>(std::move(kernel), spec, fault.fault));
    };
    TuningReport report;
    const auto tactics =
        cpu::native::tune(plan.network, *info, {.level = 2, .cache = cache()}, {}, report, make);
    ASSERT_TRUE(tactics) << tactics.error().message;
    ASSERT_EQ(tactics->size(), 6U);
    for (const auto& [layer, tactic] : *tactics) {
      EXPECT_TRUE(
          std::any_of(good.begin(), good.end(),
                      [&, chosen = tactic](const auto& one) { return one.second == chosen; }))
          << layer << " " << tactic;
    }
    ASSERT_FALSE(report.rejected.empty());
    EXPECT_THAT(report.rejected, testing::Each(HasSubstr(fault.words)));
    const auto kept = read_timing_cache(cache());
    ASSERT_TRUE(kept) << kept.error().message;
    EXPECT_THAT(kept->begin()->second.layers, testing::IsEmpty());
    fs::remove(cache());
  }
}

TEST_F(Tuner, ThreadCountIsMeasuredOnceAndKept) {
  if (::getpriority(PRIO_PROCESS, 0) > 0) GTEST_SKIP() << "needs normal priority";
  const auto with_counts = [&](Plan& plan, std::vector<std::int32_t> counts) {
    TuningReport report;
    const TuningConfig config{.level = 1,
                              .thread_counts = std::move(counts),
                              .cache = cache(),
                              .report = [&](const TuningReport& r) { report = r; }};
    const auto tuned = tune_plan(plan, config);
    EXPECT_TRUE(tuned) << tuned.error().message;
    return report;
  };
  Plan plan = small_plan();
  EXPECT_THAT(with_counts(plan, {2}).threads, testing::IsEmpty());
  EXPECT_EQ(plan.threads, 2);

  const TuningReport measured = with_counts(plan, {1, 2, 3});
  ASSERT_EQ(measured.threads.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(measured.threads[i].threads, static_cast<std::int32_t>(i) + 1);
    EXPECT_GT(measured.threads[i].ms, 0);
  }
  EXPECT_EQ(plan.threads, fewest_that_help(measured.threads));
  EXPECT_EQ(load(plan)->info().threads, plan.threads);

  const std::string before = text();
  Plan again = small_plan();
  const TuningReport read = with_counts(again, {1, 2, 3});
  EXPECT_EQ(again.threads, plan.threads);
  EXPECT_EQ(text(), before);
  ASSERT_EQ(read.threads.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(read.threads[i].ms, measured.threads[i].ms, 1e-3 * measured.threads[i].ms);
  }
  EXPECT_EQ(with_counts(again, {1, 2}).threads.size(), 2U);  // another machine's cores: measured anew

  SmallNetwork smaller(kHeight / 2, kWidth);  // of as many layers
  Plan other;
  const ValueId x = smaller.c2f(smaller.stem(32), 32, 16);
  other.network = smaller.finish(
      {smaller.upsample(smaller.conv(x, {.in = 32, .out = 48, .kernel = 3, .stride = 2})), x});
  ASSERT_TRUE(infer_shapes(other.network, 1));
  ASSERT_EQ(other.network.layers.size(), plan.network.layers.size());
  EXPECT_NE(with_counts(other, {1, 2, 3}).threads[0].ms, measured.threads[0].ms);
}

TEST_F(Tuner, StoppedWhileThreadCountsAreMeasuredIsSaid) {
  if (::getpriority(PRIO_PROCESS, 0) > 0) GTEST_SKIP() << "needs normal priority";
  Plan plan = small_plan();
  const TuningConfig config{
      .level = 1, .thread_counts = {1, 2}, .keep_going = [] { return false; }};
  const auto tuned = tune_plan(plan, config);
  ASSERT_FALSE(tuned);
  EXPECT_EQ(tuned.error().code, ErrorCode::kUnavailable);
}

TEST(ThreadChoice, TakesTheFewestOfTheFastest) {
  const auto choice = [](std::vector<TimedThreads> times) { return fewest_that_help(times); };
  EXPECT_EQ(choice({{4, 10}, {8, 5}, {16, 4.9}}), 8);
  EXPECT_EQ(choice({{4, 10}, {8, 5}, {16, 4}}), 16);
  EXPECT_EQ(choice({{4, 3}, {8, 5}}), 4);
  EXPECT_EQ(choice({}), 0);
}

TEST(Signature, NamesLayoutAndShapeButNotNumbers) {
  kernels::ConvolutionSpec spec;
  spec.in_channels = spec.out_channels = 8;
  spec.in_height = spec.out_height = spec.in_width = spec.out_width = 4;
  spec.source = {DataType::kFloat32, 8, 32, {}};
  spec.destinations = {{.surface = {DataType::kFloat32, 8, 32, {}}, .channels = 8}};
  const std::string plain = cpu::native::signature_of(spec);
  kernels::ConvolutionSpec other = spec;
  const std::vector<float> bias(8, 1.0F);
  other.bias = bias;
  other.source.grid.scale = 3;
  EXPECT_EQ(cpu::native::signature_of(other), plain);
  const auto differs = [&](auto change) {
    kernels::ConvolutionSpec changed = spec;
    change(changed);
    return cpu::native::signature_of(changed) != plain;
  };
  using Spec = kernels::ConvolutionSpec;
  EXPECT_TRUE(differs([](Spec& s) { s.compute = DataType::kFloat16; }));
  EXPECT_TRUE(differs([](Spec& s) { s.source.row_stride = 40; }));
  EXPECT_TRUE(differs([](Spec& s) { s.stride_width = 2; }));
  EXPECT_TRUE(differs([](Spec& s) { s.physically_padded = true; }));
  EXPECT_TRUE(differs([](Spec& s) { s.activation = Activation::kSilu; }));
  EXPECT_TRUE(differs([](Spec& s) { s.pre_activation = kernels::Grid{}; }));
  EXPECT_TRUE(differs([](Spec& s) { s.destinations[0].repeat = 2; }));
  EXPECT_TRUE(differs([](Spec& s) { s.destinations[0].residual = s.source; }));
  EXPECT_TRUE(differs([](Spec& s) { s.groups = 2; }));
}

}  // namespace
}  // namespace fovea::engine
