// The cache under real `fovea-engine` processes: started together, killed while writing, pruned.
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>

#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Child;

class EngineCliCache : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "fovea-cli-cache-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    ::setenv("FOVEA_CACHE_DIR", (folder_ / "cache").c_str(), 1);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::unique_ptr<Child> start(std::vector<std::string> arguments) const {
    return std::make_unique<Child>(folder_, FOVEA_BIN_DIR "/fovea-engine", std::move(arguments));
  }
  std::unique_ptr<Child> build(int batch = 1) const {
    return start({"build", "--onnx", model_, "--threads", "1", "--batch", std::to_string(batch),
                  "--builder-optimization-level", "0", "--json"});
  }
  json run(std::vector<std::string> arguments) const {
    auto child = start(std::move(arguments));
    EXPECT_EQ(child->wait(), 0) << child->err();
    return json::parse(child->out(), nullptr, false);
  }
  std::size_t count(const std::string& part) const {
    std::size_t files = 0;
    for (const auto& file : fs::directory_iterator(folder_ / "cache"))
      files += file.path().filename().string().find(part) != std::string::npos ? 1 : 0;
    return files;
  }

  fs::path folder_;
  const std::string model_ = FOVEA_SOURCE_DIR "/config/models/yolov8p_demo_dynamic.onnx";
};

TEST_F(EngineCliCache, FourProcessesStartedTogetherBuildOnce) {
  std::vector<std::unique_ptr<Child>> builders;
  for (int i = 0; i < 4; ++i) builders.push_back(build());
  int built = 0;
  for (const auto& builder : builders) {
    ASSERT_EQ(builder->wait(), 0) << builder->err();
    const json result = json::parse(builder->out());
    EXPECT_EQ(result["warning"], "");
    built += result["hit"].get<bool>() ? 0 : 1;
  }
  EXPECT_EQ(built, 1);
  EXPECT_EQ(count(".plan"), 1U);
}

TEST_F(EngineCliCache, BuilderKilledAtAnyMomentLeavesNothingBad) {
  std::mt19937 random(7);
  for (int round = 0; round < 12; ++round) {
    auto victim = build();
    ::usleep(static_cast<useconds_t>(random() % 250'000));  // the moment is the point
    victim->send(SIGKILL);
    victim->wait();
    if (round % 4 != 3) continue;
    auto next = build();
    ASSERT_EQ(next->wait(), 0) << next->err();
    const json result = json::parse(next->out());
    EXPECT_EQ(result["warning"], "");
    EXPECT_EQ(
        run({"verify", "--load-engine", result["plan"], "--against-reference", "--json"})["agrees"],
        true);
    if (!result["hit"].get<bool>()) {
      EXPECT_EQ(count(".tmp."), 0U);
    }
    fs::remove_all(folder_ / "cache");
  }
}

TEST_F(EngineCliCache, CacheThatKeepsNothingFailsTheBuildUnlessTheEngineGoesElsewhere) {
  std::ofstream(folder_ / "cache") << "a file in the folder's place";
  const auto lost = build();
  EXPECT_EQ(lost->wait(), 1);
  EXPECT_THAT(lost->err(), testing::HasSubstr("cache: Not a directory"));
  EXPECT_THAT(lost->err(), testing::HasSubstr("kept nowhere; --save-engine FILE keeps it"));
  EXPECT_TRUE(json::parse(lost->out())["plan"].is_null());

  for (const std::string precision : {"fp32", "int8"}) {
    SCOPED_TRACE(precision);
    const std::string file = folder_ / (precision + ".engine");
    std::vector<std::string> elsewhere = {"build",
                                          "--onnx",
                                          model_,
                                          "--threads",
                                          "1",
                                          "--precision",
                                          precision,
                                          "--save-engine",
                                          file,
                                          "--json",
                                          "--builder-optimization-level"};
    // Tuned once: its times are kept nowhere, either.
    elsewhere.emplace_back(precision == "fp32" ? "1" : "0");
    if (precision == "int8") {
      elsewhere.insert(elsewhere.end(), {"--calib-cache", FOVEA_SOURCE_DIR
                                         "/config/models/yolov8p_demo_dynamic.calibration.json"});
    }
    EXPECT_EQ(run(elsewhere)["plan"], file);
    EXPECT_TRUE(fs::exists(file));
  }
}

TEST_F(EngineCliCache, PruneKeepsTheLatestWithinTheSize) {
  for (int batch = 1; batch <= 3; ++batch) ASSERT_EQ(build(batch)->wait(), 0);
  const auto entries = run({"list", "--json"})["engines"];
  ASSERT_EQ(entries.size(), 3U);
  const std::string size = std::to_string(entries[0]["bytes"].get<std::size_t>() * 5 / 2);
  EXPECT_EQ(run({"prune", "--json"})["kept"], 3);
  const auto preview = run({"prune", "--max-size", size, "--dry-run", "--json"});
  EXPECT_EQ(preview["removed"].size(), 1U);
  EXPECT_EQ(count(".plan"), 3U);
  const auto pruned = run({"prune", "--max-size", size, "--json"});
  EXPECT_EQ(pruned["removed"], preview["removed"]);
  EXPECT_EQ(count(".plan"), 2U);
  EXPECT_EQ(run({"prune", "--max-size", "1kB", "--json"})["kept"], 0);
  EXPECT_EQ(count(".plan") + count(".json"), 0U);
  auto wrong = start({"prune", "--max-size", "2 parsecs"});
  EXPECT_EQ(wrong->wait(), 2);
}

}  // namespace
}  // namespace fovea
