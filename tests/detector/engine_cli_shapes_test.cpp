// Profiles as the user of `fovea engine` meets them: one file for many input sizes, which bench,
// profile and verify run at the size they are told, and sizes that do not belong.
#include <filesystem>
#include <memory>
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
using ::testing::HasSubstr;

constexpr int kUsage = 2;

class EngineCliShapes : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "fovea-cli-shapes-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    ::setenv("FOVEA_CACHE_DIR", (folder_ / "cache").c_str(), 1);
    Child writer(folder_, FOVEA_BIN_DIR "/fovea-write-yolo", {"yolov8n", model(), "--dynamic"});
    ASSERT_EQ(writer.wait(), 0) << writer.err();
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string model() const { return folder_ / "model.onnx"; }
  std::string plan() const { return folder_ / "model.plan"; }
  std::unique_ptr<Child> run(std::vector<std::string> arguments, int code = 0) const {
    auto child =
        std::make_unique<Child>(folder_, FOVEA_BIN_DIR "/fovea-engine", std::move(arguments));
    EXPECT_EQ(child->wait(), code) << child->err();
    return child;
  }
  std::unique_ptr<Child> build(const std::string& max, int code = 0) const {
    return run({"build", "--onnx", model(), "--save-engine", plan(), "--threads", "1",
                "--builder-optimization-level", "0", "--min-shapes", "images:1x3x64x64",
                "--opt-shapes", "images:1x3x96x64", "--max-shapes", max},
               code);
  }

  fs::path folder_;
};

TEST_F(EngineCliShapes, OneFileRunsEverySizeOfItsProfile) {
  build("images:2x3x128x160");
  const json manifest = json::parse(run({"inspect", "--load-engine", plan(), "--json"})->out());
  EXPECT_EQ(manifest["profile"],
            json({{"min", {1, 3, 64, 64}}, {"opt", {1, 3, 96, 64}}, {"max", {2, 3, 128, 160}}}))
      << manifest;

  const auto bench = [&](std::vector<std::string> shapes) {
    shapes.insert(shapes.begin(), {"bench", "--load-engine", plan(), "--duration", "0", "--warmup",
                                   "0", "--iterations", "1"});
    return run(std::move(shapes))->out();
  };
  EXPECT_THAT(bench({}), AllOf(HasSubstr("input [96, 64, 3]"), HasSubstr("batch 2 ")));
  EXPECT_THAT(bench({"--shapes", "images:1x3x128x64"}),
              AllOf(HasSubstr("input [128, 64, 3]"), HasSubstr("batch 1 ")));

  const auto gflop = [&](const char* shapes) -> double {
    return json::parse(run({"profile", "--load-engine", plan(), "--duration", "0.01", "--shapes",
                            shapes, "--json"})
                           ->out())["gflop"];
  };
  EXPECT_NEAR(gflop("1x3x128x128") / gflop("1x3x64x64"), 4, 0.01);
  run({"verify", "--load-engine", plan(), "--against-reference", "--shapes", "1x3x64x160"});
}

TEST_F(EngineCliShapes, SizesThatDoNotBelongAreRefusedByName) {
  build("images:2x3x128x160");
  const auto refused = [&](const char* shapes) {
    return run({"bench", "--load-engine", plan(), "--shapes", shapes}, kUsage)->err();
  };
  EXPECT_THAT(refused("images:1x3x160x64"), HasSubstr("input height is 160; the profile (min 1x3"));
  EXPECT_THAT(refused("images:1x3x100x64"), HasSubstr("96 or 128 would be"));
  EXPECT_THAT(refused("images:3x3x64x64"), HasSubstr("the engine takes batches of 1..2"));
  EXPECT_THAT(refused("images:0x3x64x64"), HasSubstr("the engine takes batches of 1..2"));
  EXPECT_THAT(refused("images:1x1x64x64"), HasSubstr("it must have 3 channels"));
  EXPECT_THAT(refused("data:1x3x64x64"), HasSubstr("the model's input is 'images'"));
  EXPECT_THAT(refused("64"), HasSubstr("--shapes is '64'; it must be like images:1x3x640x640"));
  EXPECT_THAT(build("images:1x3x96x32", kUsage)->err(),
              HasSubstr("profile width is min 64, opt 64, max 32"));
}

}  // namespace
}  // namespace fovea
