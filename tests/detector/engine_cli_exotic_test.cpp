// A model with an operator that no fast kernel knows: `profile` and `inspect --layers` say that it
// runs on the reference kernels, what that costs, and why.
#include <filesystem>
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
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kExotic = "/exotic/Tanh";

class EngineCliExotic : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "fovea-cli-exotic-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    const std::string model = folder_ / "model.onnx";
    run("fovea-write-yolo", {"yolov8n", model, "--exotic", "--dynamic"});
    run("fovea-engine",
        {"build", "--onnx", model, "--save-engine", plan(), "--provider", GetParam(), "--threads",
         "1", "--builder-optimization-level", "0", "--input-size", "96"});
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string plan() const { return folder_ / "model.plan"; }
  std::string run(const std::string& program, std::vector<std::string> arguments) const {
    Child child(folder_, FOVEA_BIN_DIR "/" + program, std::move(arguments));
    EXPECT_EQ(child.wait(), 0) << child.err();
    return child.out();
  }

  // What both commands say; `kernel` is the field that names what runs a layer.
  static void expect_cost(const json& report, const json& layers, const char* kernel) {
    std::size_t slow = 0;
    for (const json& layer : layers) {
      if (layer[kernel].get<std::string>().find("reference") == std::string::npos) continue;
      ++slow;
      EXPECT_EQ(layer["layer"], kExotic);
      EXPECT_EQ(layer["operation"], "Tanh");
      EXPECT_GT(layer["ms"], 0.0);
      EXPECT_GT(layer["share_pct"], 0.0);
      EXPECT_LT(layer["share_pct"], 100.0);
      EXPECT_EQ(report["reference"]["ms"], layer["ms"]);
      EXPECT_EQ(report["reference"]["share_pct"], layer["share_pct"]);
    }
    EXPECT_EQ(slow, 1U) << layers;
    EXPECT_EQ(report["reference"]["steps"], 1);
    EXPECT_THAT(report["declined"].get<std::vector<std::string>>(),
                Contains(StartsWith(std::string(kExotic) + ": ")));
  }

  fs::path folder_;
};

TEST_P(EngineCliExotic, ProfileShowsWhatTheReferenceCosts) {
  const json report = json::parse(
      run("fovea-engine", {"profile", "--load-engine", plan(), "--duration", "0.02", "--json"}));
  expect_cost(report, report["layers"], "kernel");
  EXPECT_THAT(run("fovea-engine", {"profile", "--load-engine", plan(), "--duration", "0.02"}),
              HasSubstr("on the reference kernels: /exotic/Tanh"));
}

TEST_P(EngineCliExotic, InspectShowsWhatTheReferenceCosts) {
  const json report =
      json::parse(run("fovea-engine", {"inspect", "--load-engine", plan(), "--layers", "--json"}));
  expect_cost(report, report["execution"], "implementation");
}

INSTANTIATE_TEST_SUITE_P(Providers, EngineCliExotic, ::testing::Values("cpu", "onednn"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace fovea
