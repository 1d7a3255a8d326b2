// Engines that were built before, out of a file or the cache, as the user of `fovea engine` meets
// them: options that could change nothing any more are refused, and the precision that runs is said.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using test::Child;
using testing::HasSubstr;
using Words = std::vector<std::string>;

constexpr int kUsage = 2;

class EngineCliLoaded : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "fovea-cli-loaded-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    ::setenv("FOVEA_CACHE_DIR", (folder_ / "cache").c_str(), 1);
    Child writer(folder_, FOVEA_BIN_DIR "/fovea-write-yolo", {"yolov8n", model(), "--dynamic"});
    ASSERT_EQ(writer.wait(), 0) << writer.err();
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string model() const { return folder_ / "model.onnx"; }
  std::string plan() const { return folder_ / "model.plan"; }
  std::unique_ptr<Child> run(Words words, const Words& more = {}, int code = 0) const {
    words.insert(words.end(), more.begin(), more.end());
    auto child = std::make_unique<Child>(folder_, FOVEA_BIN_DIR "/fovea-engine", std::move(words));
    EXPECT_EQ(child->wait(), code) << child->err();
    return child;
  }
  // How a small engine of this precision is built, or found.
  Words of_model(const char* subcommand, const char* precision = "fp32") const {
    return {subcommand, "--onnx",
            model(),    "--threads",
            "1",        "--builder-optimization-level",
            "0",        "--input-size",
            "64",       "--precision",
            precision};
  }
  Words of_plan(const char* subcommand) const { return {subcommand, "--load-engine", plan()}; }

  static int count(const std::string& text, const std::string& part) {
    int found = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
  }

  fs::path folder_;
};

TEST_F(EngineCliLoaded, OptionsOfBuildingAreRefusedBesideABuiltEngine) {
  run(of_model("build"), {"--save-engine", plan()});
  const Words meaningless[] = {{"--onnx", model()},
                               {"--precision", "fp16"},
                               {"--precision", "fp32"},  // what it is, but nothing looks at it
                               {"--batch", "4"},
                               {"--input-size", "320"},
                               {"--provider", "onednn"},
                               {"--max-shapes", "1x3x64x64"},
                               {"--keep-output0"},
                               {"--builder-optimization-level", "1"},
                               {"--no-cache"}};
  const std::pair<const char*, Words> subcommands[] = {
      {"bench", {"--duration", "0", "--warmup", "0"}},
      {"profile", {"--duration", "0.001"}},
      {"inspect", {}},
      {"verify", {"--against-reference"}}};
  for (const auto& [subcommand, own] : subcommands) {
    Words command = of_plan(subcommand);
    command.insert(command.end(), own.begin(), own.end());
    run(command);
    for (const Words& option : meaningless) {
      const auto refused = run(command, option, kUsage);
      EXPECT_EQ(refused->err(),
                "fovea engine: invalid argument: " + option[0] +
                    " means nothing beside --load-engine, whose engine is built already: leave it "
                    "out, or build an engine with it (`fovea engine build`)\n")
          << subcommand;
      EXPECT_EQ(refused->out(), "");
    }
    // Threads are what runs an engine, too; inspect runs none of its caller's.
    run(command, {"--threads", "1"}, subcommand == std::string("inspect") ? kUsage : 0);
  }
}

// However the engine came about: just built, out of the cache, or out of a file.
TEST_F(EngineCliLoaded, PrecisionThatTheCpuLacksIsSaidOnceByWhateverRunsTheEngine) {
  if (!engine::kernels::detect_cpu_features().avx2) GTEST_SKIP() << "needs AVX2";
  ::setenv("FOVEA_ISA", "avx2", 1);  // which has neither
  for (const char* precision : {"bf16", "fp16"}) {
    const std::string warning = std::string("warning: this CPU (or FOVEA_ISA) has no ") +
                                precision + " arithmetic; here the engine runs in fp32\n";
    const auto expect_warning = [&](const Words& command, const Words& more) {
      const std::string said = run(command, more)->err();
      EXPECT_EQ(count(said, warning), 1) << command[0] << ": " << said;
    };
    const Words quick = {"--duration", "0.001"};
    expect_warning(of_model("bench", precision), quick);  // builds it
    for (const char* more : {"--json", "--cached-only"}) {
      expect_warning(of_model("build", precision), {more});
    }
    expect_warning(of_model("build", precision), {"--save-engine", plan()});
    expect_warning(of_model("bench", precision), {"--duration", "0", "--sweep", "1,2"});
    for (const auto& command :
         {of_model("profile", precision), of_plan("profile"), of_plan("bench")})
      expect_warning(command, quick);
    for (const auto& command : {of_model("verify", precision), of_plan("verify")})
      expect_warning(command, {"--save-outputs", folder_ / "outputs"});
    expect_warning(of_plan("inspect"), {"--layers"});
    expect_warning({"diff", plan(), plan()}, {});
  }
  run(of_model("build"));
  EXPECT_EQ(count(run(of_model("bench"), {"--duration", "0.001"})->err(), "arithmetic"), 0);
  ::unsetenv("FOVEA_ISA");
}

// Attention has no precision of its own in a plan.
TEST_F(EngineCliLoaded, ProfileShowsBf16OfAttention) {
  const bool tiles = engine::kernels::detect_cpu_features().amx_bf16;
  Child writer(folder_, FOVEA_BIN_DIR "/fovea-write-yolo", {"yolo11n", model(), "--dynamic"});
  ASSERT_EQ(writer.wait(), 0) << writer.err();
  Words command = of_model("profile", "bf16");
  std::replace(command.begin(), command.end(), std::string("64"), std::string("224"));
  const auto profile = run(command, {"--duration", "0.001", "--json"});
  int attentions = 0;
  const auto result = nlohmann::json::parse(profile->out());
  for (const auto& layer : result["layers"]) {
    if (layer["kernel"].get<std::string>().find("attention") == std::string::npos) continue;
    ++attentions;
    EXPECT_EQ(layer["kernel"] == "amx_bf16 attention", tiles) << layer;
    EXPECT_EQ(layer["precision"], tiles ? "bf16" : "fp32") << layer;
  }
  EXPECT_EQ(attentions, 1);
}

TEST_F(EngineCliLoaded, OptionsAreRefusedBesideARequestThatHasThemAll) {
  const auto refused =
      run({"build", "--batch", "4", "--request", R"({"model": ")" + model() + R"("})"}, {}, kUsage);
  EXPECT_THAT(refused->err(), HasSubstr("--batch means nothing beside --request"));
}

}  // namespace
}  // namespace fovea
