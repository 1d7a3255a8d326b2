// Every task through the product: a camera, a model of the task, and what is found in its topic, the
// table and the recording. Real processes started by `fovea launch`.
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>

#include "tests/predict/task_models.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using nlohmann::json;
using test::Child;
using testing::HasSubstr;

const std::string kFovea = std::string(FOVEA_BIN_DIR) + "/fovea";
constexpr int kFrames = 5;

class TaskPipeline : public testing::Test {
 protected:
  TaskPipeline() {
    setenv("FOVEA_CACHE_DIR", (domain_.root() / "cache").c_str(), 1);
    setenv("FOVEA_SHARE", FOVEA_SOURCE_DIR, 1);
  }

  std::string path(const std::string& name) const { return domain_.root() / name; }

  // One camera of a few frames through `model.onnx`, recorded. Returns the table.
  std::string run() {
    Child launch(domain_.root(), kFovea,
                 {"launch", FOVEA_SOURCE_DIR "/launch/one_camera.launch.yaml", "--domain", "test",
                  "video:=synthetic://?width=128&height=128&frames=" + std::to_string(kFrames),
                  "model:=" + path("model.onnx"), "loop:=false", "reliability:=reliable",
                  "record:=true", "record_to:=" + path("run.mcap")});
    EXPECT_EQ(launch.wait(), 0) << launch.err();
    EXPECT_THAT(launch.out() + launch.err(), testing::Not(HasSubstr("nobody writes")));
    return launch.out() + launch.err();
  }

  // Messages of each topic that the recording has.
  json recorded() {
    Child info(domain_.root(), kFovea, {"bag", "info", path("run.mcap"), "--json"});
    EXPECT_EQ(info.wait(), 0) << info.err();
    json counts = json::object();
    const json found = json::parse(info.out(), nullptr, false);
    for (const json& topic : found["topics"]) {
      counts[topic["topic"].get<std::string>()] = topic["messages"];
    }
    return counts;
  }

  // The last message of a topic, by the MCAP project's own reader; null without it.
  json last_of(const std::string& topic) {
    const std::string python = FOVEA_SOURCE_DIR "/build/mcap_reader/bin/python";
    if (!std::filesystem::exists(python)) return nullptr;
    Child reader(
        domain_.root(), python,
        {FOVEA_SOURCE_DIR "/tests/bag/mcap_reader/read.py", path("run.mcap"), "--contents"});
    EXPECT_EQ(reader.wait(), 0) << reader.err();
    return json::parse(reader.out(), nullptr, false)["topics"][topic]["last"];
  }

  test::TestDomain domain_;
};

// Four objects in every picture, as test::TaskModel finds them.
TEST_F(TaskPipeline, WhatIsFoundBesideBoxesIsRecordedFrameByFrame) {
  const struct {
    test::ThirdMap third;
    std::string topic;
    std::string list;
    std::string part;
  } cases[] = {
      {{"segment", {1, 1, 1, 1}}, "cam0/masks", "instances", "run_count"},
      {{"pose", std::vector<double>(51, 0.25)}, "cam0/keypoints", "detections", "keypoints"},
      {{"obb", {0.5}}, "cam0/oriented_boxes", "detections", "bbox"},
  };
  for (const auto& c : cases) {
    std::filesystem::remove(path("run.mcap"));
    test::TaskModel(c.third).save(path("model.onnx"));
    EXPECT_THAT(run(), HasSubstr("dog " + std::to_string(4 * kFrames)));
    json counts = recorded();
    EXPECT_EQ(counts["cam0/detections"], kFrames) << c.topic;
    for (const auto& [topic, count] : counts.items()) {
      const bool is_filled = topic == "cam0/detections" || topic == c.topic;
      EXPECT_EQ(count, is_filled ? kFrames : 0) << topic << " of " << c.third.task;
    }
    const json last = last_of(c.topic);
    if (last.is_null()) continue;
    ASSERT_EQ(last[c.list].size(), 4U) << last;
    EXPECT_EQ(last[c.list][0]["class_name"], "dog");
    EXPECT_NE(last[c.list][0][c.part], json(0));
  }
}

TEST_F(TaskPipeline, AClassifiersBestClassIsCountedAndRecorded) {
  engine::test::OnnxWriter writer;
  writer.input("images", {1, 3, 32, 32});
  writer.floats("none", {3, 3, 32, 32}, std::vector<double>(std::size_t{3} * 3 * 32 * 32));
  writer.floats("logits", {3}, {0, 2, 1});
  writer.node("Conv", {"images", "none", "logits"}, {"map"});
  writer.ints("flat", {1, 3});
  writer.node("Reshape", {"map", "flat"}, {"row"});
  writer.node("Softmax", {"row"}, {"output0"}, {{"axis", std::int64_t{1}}});
  writer.output("output0");
  writer.metadata("task", "classify").metadata("names", "{0: 'cat', 1: 'dog', 2: 'cow'}");
  writer.save(path("model.onnx"));
  EXPECT_THAT(run(), HasSubstr("dog " + std::to_string(kFrames)));
  EXPECT_EQ(recorded()["cam0/classification"], kFrames);
  const json last = last_of("cam0/classification");
  if (last.is_null()) return;
  EXPECT_EQ(last["results"][0]["class_name"], "dog");
  EXPECT_EQ(last["results"].size(), 3U);
}

TEST_F(TaskPipeline, SemanticMapsAreCountedAndRecorded) {
  test::semantic_model().save(path("model.onnx"));
  EXPECT_THAT(run(), testing::ContainsRegex("(ground|sky) " + std::to_string(kFrames)));
  EXPECT_EQ(recorded()["cam0/semantic_map"], kFrames);
  const json last = last_of("cam0/semantic_map");
  if (last.is_null()) return;
  EXPECT_EQ(last["width"], 64);
  EXPECT_EQ(last["source_width"], 128);
  std::uint32_t pixels = 0;
  for (const json& one : last["classes"]) pixels += one["pixels"].get<std::uint32_t>();
  EXPECT_EQ(pixels, 64U * 64);
  std::uint32_t length = 0;
  for (const json& one : last["runs"]) length += one["length"].get<std::uint32_t>();
  EXPECT_EQ(length, 64U * 64);
}

TEST_F(TaskPipeline, DepthIsRecorded) {
  test::depth_model().save(path("model.onnx"));
  run();
  EXPECT_EQ(recorded()["cam0/depth"], kFrames);
  const json last = last_of("cam0/depth");
  if (last.is_null()) return;
  EXPECT_EQ(last["width"], 16);
  ASSERT_EQ(last["depth"].size(), 256U);
  for (const json& value : last["depth"]) {
    EXPECT_GE(value, 0.99);
    EXPECT_LE(value, 2.72);
  }
}

}  // namespace
}  // namespace fovea
