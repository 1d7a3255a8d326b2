// Tuning as the user of `fovea engine build` meets it: the same inputs and the same timing cache
// make the same file, and what was chosen shows in inspect, profile and diff.
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/plan/plan.hpp"
#include "nodes/detector/engine/plan/timing_cache.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Child;
using ::testing::HasSubstr;

class EngineCliTuning : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!engine::kernels::cpu_features().avx2) GTEST_SKIP() << "needs AVX2";
    std::string name = ::testing::TempDir() + "fovea-cli-tuning-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    ::setenv("FOVEA_CACHE_DIR", (folder_ / "cache").c_str(), 1);
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  std::string path(const char* name) const { return folder_ / name; }
  std::unique_ptr<Child> run(std::vector<std::string> arguments, int code = 0) const {
    auto child =
        std::make_unique<Child>(folder_, FOVEA_BIN_DIR "/fovea-engine", std::move(arguments));
    EXPECT_EQ(child->wait(), code) << child->err();
    return child;
  }
  std::unique_ptr<Child> start(const char* file, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"build", "--onnx", model_, "--threads", "1", "--timing-cache-file",
                               path("timing.json"), "--save-engine", path(file), "--json"});
    return std::make_unique<Child>(folder_, FOVEA_BIN_DIR "/fovea-engine", std::move(more));
  }
  std::unique_ptr<Child> build(const char* file, std::vector<std::string> more = {}) const {
    auto child = start(file, std::move(more));
    EXPECT_EQ(child->wait(), 0) << child->err();
    return child;
  }
  static std::string text_of(const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  fs::path folder_;
  const std::string model_ = FOVEA_SOURCE_DIR "/config/models/yolov8p_demo_dynamic.onnx";
};

TEST_F(EngineCliTuning, SameTimingCacheMakesTheSameFile) {
  const auto first = build("a.plan");
  const json measured = json::parse(first->out())["tuning"];
  EXPECT_EQ(measured["cached"], false);
  EXPECT_GT(measured["layers"], 50);
  EXPECT_GT(measured["untuned_ms"], 0.0);
  EXPECT_THAT(measured["rejected"], testing::IsEmpty());
  EXPECT_THAT(first->err(), HasSubstr("leave their first guess"));
  const json read = json::parse(build("b.plan")->out())["tuning"];
  EXPECT_EQ(read["cached"], true);
  EXPECT_EQ(read["known"], measured["layers"]);
  EXPECT_EQ(text_of(path("a.plan")), text_of(path("b.plan")));
  EXPECT_EQ(json::parse(run({"diff", path("a.plan"), path("b.plan"), "--json"})->out())["equal"],
            true);
}

// The engine goes elsewhere; what was measured for it is good for the next one.
TEST_F(EngineCliTuning, ASavedEngineLeavesItsTimesInTheCacheAndNothingElse) {
  const auto save = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"build", "--onnx", model_, "--threads", "1", "--save-engine",
                               path("saved.plan"), "--builder-optimization-level", "1", "--json"});
    return json::parse(run(more)->out())["tuning"];
  };
  EXPECT_EQ(save({"--no-cache"})["known"], 0);
  EXPECT_FALSE(fs::exists(path("cache"))) << "nothing is kept";
  EXPECT_EQ(save({})["known"], 0) << "and nothing was";
  EXPECT_TRUE(engine::read_timing_cache(path("cache/timing_cache.json")));
  for (const auto& file : fs::directory_iterator(path("cache"))) {
    EXPECT_EQ(file.path().filename(), "timing_cache.json");
  }
  const std::string first = text_of(path("saved.plan"));
  const json second = save({});
  EXPECT_EQ(second["cached"], true);
  EXPECT_EQ(second["known"], second["layers"]);
  EXPECT_EQ(text_of(path("saved.plan")), first);
  EXPECT_EQ(save({"--no-cache"})["known"], 0);
  // As builds into the cache use them, too.
  const json kept = json::parse(run({"build", "--onnx", model_, "--threads", "1",
                                     "--builder-optimization-level", "1", "--json"})
                                    ->out());
  EXPECT_EQ(kept["hit"], false);
  EXPECT_EQ(kept["tuning"]["cached"], true);
}

TEST_F(EngineCliTuning, ChosenTacticShowsInDiffInspectAndProfile) {
  build("a.plan", {"--builder-optimization-level", "1"});
  auto cache = engine::read_timing_cache(path("timing.json"));
  ASSERT_TRUE(cache) << cache.error().message;
  auto& tactics = cache->begin()->second.networks.begin()->second.tactics;
  const auto plan = engine::read_plan(path("a.plan"));
  ASSERT_TRUE(plan);
  ASSERT_EQ(tactics, plan->tactics);
  const auto& [layer, was] = *tactics.begin();
  // Every convolution can work off its channels 16 by 16.
  const auto* tiles =
      engine::kernels::best_tiles(engine::DataType::kFloat32, engine::kernels::cpu_features());
  const auto tactic = [&](std::size_t width) {
    return std::string(tiles->isa) + "/1x" + std::to_string(tiles->tiles().widths[1][width]) +
           "/weights";
  };
  const std::string is = was == tactic(0) ? tactic(1) : tactic(0);
  tactics.begin()->second = is;
  ASSERT_TRUE(engine::merge_into_file(*cache, path("timing.json")));
  EXPECT_EQ(json::parse(
                build("b.plan", {"--builder-optimization-level", "1"})->out())["tuning"]["cached"],
            true);

  const auto diff = run({"diff", path("a.plan"), path("b.plan"), "--json"}, 1);
  const json differing = json::parse(diff->out());
  for (const json& setting : differing["settings"]) {
    EXPECT_EQ(setting["name"], "file_bytes") << "a longer name may move the weights; " << differing;
  }
  ASSERT_EQ(differing["layers"].size(), 1U) << differing;
  EXPECT_EQ(differing["layers"][0]["layer"], layer);
  EXPECT_EQ(differing["layers"][0]["b"]["kernel"], is);

  const json inspected =
      json::parse(run({"inspect", "--load-engine", path("b.plan"), "--layers", "--json"})->out());
  EXPECT_EQ(inspected["tactics"][layer], is);
  EXPECT_THAT(inspected["declined"], testing::IsEmpty());
  const json profile = json::parse(
      run({"profile", "--load-engine", path("b.plan"), "--duration", "0.01", "--json"})->out());
  for (const auto& rows : {inspected["execution"], profile["layers"]}) {
    std::size_t found = 0;
    for (const json& row : rows) {
      if (row["layer"] != layer) continue;
      ++found;
      EXPECT_EQ(row.contains("kernel") ? row["kernel"] : row["implementation"], is);
    }
    EXPECT_EQ(found, 1U);
  }
}

TEST_F(EngineCliTuning, ATimingCacheThatCannotBeWrittenIsToldBeforeAnythingIsBuilt) {
  std::ofstream(path("file")) << "no folder";
  for (const auto& [bad, code] : {std::pair(folder_.string(), 2),
                                  std::pair(path("file") + "/timing.json", 1)}) {
    for (const char* command : {"build", "bench"}) {
      const auto refused = run({command, "--onnx", model_, "--timing-cache-file", bad}, code);
      EXPECT_THAT(refused->err(), HasSubstr("--timing-cache-file"));
      EXPECT_THAT(refused->err(), testing::Not(HasSubstr(" %"))) << "it had begun";
    }
  }
}

TEST_F(EngineCliTuning, TimingCacheOfGarbageIsSaidAndReplaced) {
  std::ofstream(path("timing.json")) << "garbage";
  const auto built = build("a.plan", {"--builder-optimization-level", "1"});
  EXPECT_THAT(built->err(), HasSubstr("warning: timing cache ignored: " + path("timing.json")));
  EXPECT_TRUE(engine::read_timing_cache(path("timing.json")));
}

TEST_F(EngineCliTuning, BuilderThatIsKilledOrStoppedIsContinuedByTheNextOne) {
  const struct {
    int signal;
    int code;
  } ends[] = {{SIGKILL, 1000 + SIGKILL}, {SIGTERM, 130}};
  for (const auto& end : ends) {
    SCOPED_TRACE(end.signal);
    fs::remove(path("timing.json"));
    const auto measured = [&] {
      const auto cache = engine::read_timing_cache(path("timing.json"));
      return cache && !cache->empty() ? cache->begin()->second : engine::TimingTable();
    };
    auto victim = start("a.plan");
    ASSERT_TRUE(test::eventually([&] { return !measured().layers.empty(); })) << victim->err();
    victim->send(end.signal);
    EXPECT_EQ(victim->wait(), end.code) << victim->err();
    EXPECT_FALSE(fs::exists(path("a.plan")));
    const engine::TimingTable kept = measured();
    EXPECT_THAT(kept.networks, testing::IsEmpty());

    const json next = json::parse(build("b.plan")->out())["tuning"];
    EXPECT_EQ(next["cached"], false);
    EXPECT_GE(next["known"], kept.layers.size());
    for (const auto& [signature, tactics] : kept.layers) {
      EXPECT_EQ(measured().layers.at(signature), tactics) << "timed once more: " << signature;
    }
  }
}

TEST_F(EngineCliTuning, LevelIsPartOfTheKeyAndBounded) {
  const std::vector<std::string> untuned = {
      "build", "--onnx", model_, "--builder-optimization-level", "0", "--json", "-"};
  std::vector<std::string> cached_only = untuned;
  cached_only.emplace_back("--cached-only");
  EXPECT_THAT(run(cached_only, 1)->err(), HasSubstr("not in the cache: no plan of this model yet"));
  const json built = json::parse(run(untuned)->out());
  EXPECT_EQ(built["hit"], false);
  EXPECT_EQ(built["tuning"], nullptr);
  EXPECT_EQ(json::parse(run(cached_only)->out())["hit"], true);
  const json inspected = json::parse(run({"inspect", "--onnx", model_, "--json"})->out());
  EXPECT_EQ(inspected["cached"], false);
  EXPECT_EQ(inspected["reason"], "tuning was level 0, is level 2");
  EXPECT_THAT(run({"build", "--onnx", model_, "--builder-optimization-level", "7"}, 2)->err(),
              HasSubstr("--builder-optimization-level"));
}

}  // namespace
}  // namespace fovea
