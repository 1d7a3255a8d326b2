// The product as its users run it: real processes started by `fovea launch`, a real model, and the
// promises that matter: every frame is accounted for, a killed process comes back, nothing is left
// behind, and bad input ends with an error that says what to do.
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <stdlib.h>

#include "nodes/runtime/figures/metrics.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using nlohmann::json;
using test::Child;
using test::eventually;
using testing::HasSubstr;

const std::string kFovea = std::string(FOVEA_BIN_DIR) + "/fovea";
const std::string kLaunch = std::string(FOVEA_SOURCE_DIR) + "/launch/";
const std::string kModel = "model:=" FOVEA_SOURCE_DIR "/config/models/yolov8p_demo_dynamic.onnx";
const std::string kSynthetic = "video:=synthetic://?width=320&height=240&fps=20";

class Pipeline : public testing::Test {
 protected:
  Pipeline() {
    setenv("FOVEA_CACHE_DIR", (domain_.root() / "cache").c_str(), 1);
    setenv("FOVEA_SHARE", FOVEA_SOURCE_DIR, 1);
  }

  std::unique_ptr<Child> launch(std::vector<std::string> arguments,
                                const std::string& file = "four_cameras") {
    arguments.insert(arguments.begin(), {"launch", kLaunch + file + ".launch.yaml", "--domain",
                                         "test", "--json", report_path()});
    return std::make_unique<Child>(domain_.root(), kFovea, std::move(arguments));
  }

  std::string report_path() const { return domain_.root() / "report.json"; }

  json report() const {
    std::ifstream file(report_path());
    return file ? json::parse(file, nullptr, false) : json();
  }

  // `fovea node list --json`, by node name.
  std::map<std::string, json> nodes() const {
    Child list(domain_.root(), kFovea, {"node", "list", "--json", "--domain", "test"});
    list.wait();
    std::map<std::string, json> result;
    const json parsed = json::parse(list.out(), nullptr, false);
    if (parsed.is_array()) {
      for (const json& node : parsed) result[node["name"]] = node;
    }
    return result;
  }

  bool all_active(std::size_t count) const {
    const auto all = nodes();
    return all.size() == count && std::all_of(all.begin(), all.end(), [](const auto& node) {
             return node.second["state"] == "active" && node.second["alive"] == true;
           });
  }

  // Detections of each of four cameras have been published.
  bool all_delivered() const {
    const auto page = MetricsReader::open(*domain_, "postprocess");
    return page && std::ranges::all_of(
                       std::array{"cam0", "cam1", "cam2", "cam3"},
                       [&](auto camera) { return (*page)->value("frames_out", camera) > 0; });
  }

  // Tuning beside four cameras and other tests takes its time.
  static constexpr std::chrono::seconds kTuning{200};
  // A first start serves with an untuned engine until the tuned one is built beside it and kept.
  bool tuned_plan_is_cached(const std::string& precision) const {
    const auto folder = domain_.root() / "cache";
    return std::filesystem::exists(folder) &&
           std::ranges::any_of(std::filesystem::directory_iterator(folder), [&](const auto& entry) {
             std::filesystem::path file = entry.path();
             if (file.extension() != ".json") return false;
             std::ifstream text(file);
             const json manifest = json::parse(text, nullptr, false);
             return manifest.contains("inputs") && manifest["inputs"]["precision"] == precision &&
                    manifest["inputs"]["tuning"] != "level 0" &&
                    std::filesystem::exists(file.replace_extension(".plan"));
           });
  }

  // Everything still in the shared memory and socket folders of this test.
  std::vector<std::string> left_behind() const {
    std::vector<std::string> files;
    for (const char* folder : {"shm", "run"}) {
      for (const auto& entry :
           std::filesystem::recursive_directory_iterator(domain_.root() / folder)) {
        if (!entry.is_directory()) files.push_back(entry.path().filename());
      }
    }
    return files;
  }

  static std::uint64_t sum(const json& counts) {
    std::uint64_t total = 0;
    for (const auto& [name, count] : counts.items()) total += count.get<std::uint64_t>();
    return total;
  }

  // captured = delivered + drops for each of `count` cameras.
  static void expect_balanced(const json& report, std::size_t count) {
    ASSERT_TRUE(report.contains("cameras")) << report;
    ASSERT_EQ(report["cameras"].size(), count) << report;
    for (const auto& [name, camera] : report["cameras"].items()) {
      EXPECT_GT(camera["captured"].get<std::uint64_t>(), 0u) << name;
      EXPECT_EQ(camera["captured"].get<std::uint64_t>(),
                camera["delivered"].get<std::uint64_t>() + sum(camera["drops"]))
          << name << ": " << camera;
    }
  }

  test::TestDomain domain_;
};

TEST_F(Pipeline, FourCamerasDeliverEveryFrameIsAccountedForAndTheSecondStartLoadsThePlan) {
  for (const std::string plan : {"built", "hit"}) {
    auto run = launch({kSynthetic, kModel});
    ASSERT_TRUE(eventually([&] { return all_active(7) && all_delivered(); })) << run->err();
    ASSERT_TRUE(eventually([&] { return tuned_plan_is_cached("fp32"); }, kTuning)) << run->err();
    run->send(SIGINT);
    ASSERT_EQ(run->wait(), 0) << run->err();
    const json result = report();
    expect_balanced(result, 4);
    for (const auto& [name, camera] : result["cameras"].items()) {
      EXPECT_GT(camera["delivered"].get<std::uint64_t>(), 0u) << name;
      EXPECT_GT(camera["latency_ms"]["p50"].get<double>(), 0) << name;
      EXPECT_GE(camera["latency_ms"]["p99"].get<double>(),
                camera["latency_ms"]["p50"].get<double>())
          << name;
    }
    EXPECT_EQ(result["detector"]["plan"], plan);
    EXPECT_EQ(result["detector"]["provider"], "cpu");
    EXPECT_EQ(result["detector"]["precision"], "fp32");
    EXPECT_GT(result["detector"]["engine_ms"]["p50"].get<double>(), 0);
    EXPECT_GT(sum(result["detector"]["batch_sizes"]), 0u);
    EXPECT_EQ(result["bytes_copied_per_frame"], 0);
    EXPECT_EQ(sum(result["restarts"]), 0u);
    EXPECT_THAT(left_behind(), testing::IsEmpty());
  }
}

TEST_F(Pipeline, OneProcessPerCameraPlusThreeStagesAndTopicsThatCanBeRead) {
  auto run = launch({kSynthetic, kModel});
  ASSERT_TRUE(eventually([&] { return all_active(7); })) << run->err();
  std::map<std::string, int> types;
  std::set<std::int64_t> pids;
  for (const auto& [name, node] : nodes()) {
    ++types[node["type"]];
    pids.insert(node["pid"].get<std::int64_t>());
  }
  EXPECT_EQ(types, (std::map<std::string, int>{
                       {"camera", 4}, {"preprocess", 1}, {"detector", 1}, {"postprocess", 1}}));
  EXPECT_EQ(pids.size(), 7u);

  Child list(domain_.root(), kFovea, {"topic", "list", "--domain", "test"});
  EXPECT_EQ(list.wait(), 0);
  EXPECT_THAT(list.out(), testing::AllOf(HasSubstr("cam0/image"), HasSubstr("cam3/detections"),
                                         HasSubstr("detector/model_info")));
  Child echo(domain_.root(), kFovea,
             {"topic", "echo", "--once", "cam2/detections", "--domain", "test"});
  EXPECT_EQ(echo.wait(), 0) << echo.err();
  EXPECT_EQ(json::parse(echo.out())["header"]["frame_id"], "cam2");
  Child model(domain_.root(), kFovea,
              {"topic", "echo", "--once", "detector/model_info", "--domain", "test"});
  EXPECT_EQ(model.wait(), 0) << model.err();
  EXPECT_EQ(json::parse(model.out())["class_names"][0], "person");
  Child hz(domain_.root(), kFovea,
           {"topic", "hz", "cam1/image", "--count", "20", "--domain", "test"});
  EXPECT_EQ(hz.wait(), 0) << hz.err();

  run->send(SIGINT);
  EXPECT_EQ(run->wait(), 0) << run->err();
  expect_balanced(report(), 4);
  EXPECT_THAT(left_behind(), testing::IsEmpty());
}

TEST_F(Pipeline, AnyKilledProcessComesBackAndTheLedgerStillAddsUp) {
  auto run = launch({kSynthetic, kModel});
  ASSERT_TRUE(eventually([&] { return all_active(7); })) << run->err();
  for (const std::string victim : {"cam1", "preprocess", "detector", "postprocess"}) {
    const auto before = nodes();
    kill(before.at(victim)["pid"].get<pid_t>(), SIGKILL);
    ASSERT_TRUE(eventually([&] {
      const auto now = nodes();
      return all_active(7) && now.at(victim)["pid"] != before.at(victim)["pid"];
    })) << victim
        << "\n"
        << run->err();
    for (const auto& [name, node] : nodes()) {
      if (name == victim) continue;
      EXPECT_EQ(node["pid"], before.at(name)["pid"]) << name << " after " << victim;
    }
    Child echo(domain_.root(), kFovea,
               {"topic", "echo", "--once", "cam1/detections", "--domain", "test"});
    EXPECT_EQ(echo.wait(), 0) << "no detections after the death of " << victim << "\n"
                              << run->err();
  }
  run->send(SIGINT);
  EXPECT_EQ(run->wait(), 0) << run->err();
  const json result = report();
  expect_balanced(result, 4);
  for (const std::string victim : {"cam1", "preprocess", "detector", "postprocess"}) {
    EXPECT_EQ(result["restarts"][victim], 1) << result["restarts"];
  }
  EXPECT_THAT(left_behind(), testing::IsEmpty());
}

TEST_F(Pipeline, NodesStopWhenTheLauncherIsKilledAndTheNextLaunchSweeps) {
  auto run = launch({kSynthetic, kModel});
  ASSERT_TRUE(eventually([&] { return all_active(7); })) << run->err();
  std::vector<pid_t> pids;
  for (const auto& [name, node] : nodes()) pids.push_back(node["pid"].get<pid_t>());
  run->send(SIGKILL);
  EXPECT_EQ(run->wait(), 1000 + SIGKILL);
  for (pid_t pid : pids) {
    EXPECT_TRUE(eventually([&] { return kill(pid, 0) != 0; })) << pid << " still runs";
  }
  auto next = launch({kSynthetic, kModel, "--duration", "1"});
  EXPECT_EQ(next->wait(), 0) << next->err();
  expect_balanced(report(), 4);
  EXPECT_THAT(left_behind(), testing::IsEmpty());
}

TEST_F(Pipeline, InterruptDuringStartLeavesNothing) {
  auto run = launch({kSynthetic, kModel});
  ASSERT_TRUE(eventually([&] { return !nodes().empty(); })) << run->err();
  run->send(SIGINT);
  EXPECT_EQ(run->wait(), 0) << run->err();
  EXPECT_THAT(left_behind(), testing::IsEmpty());
}

TEST_F(Pipeline, SecondLaunchInTheSameDomainIsRefused) {
  auto first = launch({kSynthetic, kModel});
  ASSERT_TRUE(eventually([&] { return !nodes().empty(); })) << first->err();
  Child second(
      domain_.root(), kFovea,
      {"launch", kLaunch + "one_camera.launch.yaml", "--domain", "test", kSynthetic, kModel});
  EXPECT_EQ(second.wait(), 2);
  EXPECT_THAT(second.err(),
              testing::AllOf(HasSubstr("domain `test`"), HasSubstr(std::to_string(first->pid()))));
  first->send(SIGINT);
  EXPECT_EQ(first->wait(), 0);
}

TEST_F(Pipeline, AbsentCameraIsReportedWhileTheOthersDeliver) {
  auto run = launch({kSynthetic, kModel, "video2:=v4l2:///dev/video99"});
  ASSERT_TRUE(eventually([&] {
    const auto all = nodes();
    return all_active(7) && all.contains("cam2") && all.at("cam2")["level"] != "ok";
  })) << run->err();
  EXPECT_THAT(nodes().at("cam2")["status"].get<std::string>(), HasSubstr("/dev/video99"));
  Child echo(domain_.root(), kFovea,
             {"topic", "echo", "--once", "cam3/detections", "--domain", "test"});
  EXPECT_EQ(echo.wait(), 0) << run->err();
  run->send(SIGINT);
  EXPECT_EQ(run->wait(), 0);
  const json result = report();
  EXPECT_EQ(result["cameras"]["cam2"]["captured"], 0);
  EXPECT_GT(result["cameras"]["cam3"]["delivered"].get<int>(), 0);
}

TEST_F(Pipeline, Int8FromACalibrationTableServesFromTheFirstFrame) {
  for (const std::string plan : {"built", "hit"}) {
    auto run = launch({kSynthetic, kModel, "precision:=int8", "max_batch:=3",
                       "calibration:=" FOVEA_SOURCE_DIR
                       "/config/models/yolov8p_demo_dynamic.calibration.json"});
    ASSERT_TRUE(eventually([&] { return all_active(7) && all_delivered(); })) << run->err();
    ASSERT_TRUE(eventually([&] { return tuned_plan_is_cached("int8"); }, kTuning)) << run->err();
    run->send(SIGINT);
    ASSERT_EQ(run->wait(), 0) << run->err();
    const json result = report();
    expect_balanced(result, 4);
    EXPECT_EQ(result["detector"]["plan"], plan) << run->err();
    // Without AVX2 the provider runs the plan in f32 and says so.
    EXPECT_THAT(result["detector"]["precision"].get<std::string>(), testing::AnyOf("int8", "fp32"));
    EXPECT_THAT(left_behind(), testing::IsEmpty());
  }
}

TEST_F(Pipeline, OneInputSizeForPreprocessAndDetector) {
  const std::string model_file = domain_.root() / "open.onnx";
  Child writer(domain_.root(), std::string(FOVEA_BIN_DIR) + "/fovea-write-yolo",
               {"yolov8n", model_file, "--dynamic"});
  ASSERT_EQ(writer.wait(), 0) << writer.err();
  auto run = launch({kSynthetic, "model:=" + model_file, "input_size:=160x96"}, "one_camera");
  ASSERT_TRUE(eventually([&] { return all_active(4); })) << run->err();
  Child echo(domain_.root(), kFovea,
             {"topic", "echo", "--once", "cam0/detections", "--domain", "test"});
  EXPECT_EQ(echo.wait(), 0) << run->err();
  Child echo_model(domain_.root(), kFovea,
                   {"topic", "echo", "--once", "detector/model_info", "--domain", "test"});
  EXPECT_EQ(echo_model.wait(), 0) << run->err();
  const json model = json::parse(echo_model.out());
  EXPECT_EQ(model["network_width"], 160);
  EXPECT_EQ(model["network_height"], 96);
  run->send(SIGINT);
  EXPECT_EQ(run->wait(), 0) << run->err();
  expect_balanced(report(), 1);
  EXPECT_GT(report()["cameras"]["cam0"]["delivered"].get<std::uint64_t>(), 0u);
}

struct BadStart {
  const char* name;
  std::vector<std::string> arguments;
  std::vector<std::string> error;  // parts of what is printed
};

class PipelineBadInput : public Pipeline, public testing::WithParamInterface<BadStart> {};

TEST_P(PipelineBadInput, EndsWithAnErrorThatNamesTheThing) {
  std::ofstream(domain_.root() / "empty.onnx");
  std::ofstream(domain_.root() / "garbage.onnx") << "this is no ONNX file";
  std::vector<std::string> arguments = GetParam().arguments;
  for (std::string& argument : arguments) {
    if (const auto at = argument.find("@ROOT"); at != std::string::npos)
      argument.replace(at, 5, domain_.root());
  }
  auto run = launch(arguments);
  EXPECT_THAT(run->wait(),
              testing::AnyOf(1, 2));  // 2: nothing was started, 1: a node failed for good
  for (const std::string& part : GetParam().error)
    EXPECT_THAT(run->err() + run->out(), HasSubstr(part));
  EXPECT_THAT(left_behind(), testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Table, PipelineBadInput,
    testing::Values(
        BadStart{"MissingModel",
                 {kSynthetic, "model:=/no/such.onnx"},
                 {"/no/such.onnx", "No such file"}},
        BadStart{"EmptyModel", {kSynthetic, "model:=@ROOT/empty.onnx"}, {"empty.onnx"}},
        BadStart{"GarbageModel", {kSynthetic, "model:=@ROOT/garbage.onnx"}, {"garbage.onnx"}},
        BadStart{"UnknownScheme", {"video:=htp://x", kModel}, {"htp://x", "synthetic://"}},
        BadStart{"UnknownQueryKey", {"video:=synthetic://?widht=3", kModel}, {"widht", "width"}},
        BadStart{"UnknownArgument", {"vidoe:=synthetic://", kModel}, {"vidoe", "video"}},
        BadStart{"UnknownPrecision", {kSynthetic, kModel, "precision:=fp13"}, {"fp13", "fp32"}},
        BadStart{"BatchOutOfRange", {kSynthetic, kModel, "max_batch:=65"}, {"max_batch", "0..64"}},
        BadStart{"InputSizeOfAFixedModel",
                 {kSynthetic, kModel, "input_size:=320"},
                 {"input height is 320", "fixes it to 416"}},
        BadStart{"TooLittleSharedMemory",
                 {kSynthetic, kModel, "shm_per_camera:=4096GiB"},
                 {"shm", "GiB"}}),
    [](const auto& suite) { return suite.param.name; });

}  // namespace
}  // namespace fovea
