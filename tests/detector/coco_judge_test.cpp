// Accuracy of every task on made-up answers against COCO's own evaluation (pycocotools), which tests/run.sh
// installs; without it these tests skip, with a notice.
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "nodes/detector/accuracy/polygon_runs.hpp"
#include "nodes/detector/accuracy/task_accuracy.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"

namespace fovea::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint32_t kWidth = 320;
constexpr std::uint32_t kHeight = 240;
constexpr std::uint32_t kClasses = 4;

class CocoJudge : public ::testing::TestWithParam<Task> {
 protected:
  float uniform(float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(random_);
  }
  bool chance(double of) { return std::bernoulli_distribution(of)(random_); }

  ScoredObject object(std::size_t points) {
    ScoredObject made;
    made.class_id = static_cast<std::uint32_t>(uniform(0, kClasses - 0.01F));
    const float width = uniform(15, 90);
    const float height = uniform(15, 90);
    made.turned = {uniform(50, kWidth - 50), uniform(50, kHeight - 50), width, height,
                   uniform(-0.7F, 0.7F)};
    for (std::size_t i = 0; i < points; ++i) {
      made.keypoints.push_back({made.turned.center_x + uniform(-width, width) / 2,
                                made.turned.center_y + uniform(-height, height) / 2,
                                i == 0 || chance(0.7) ? 1.0F : 0.0F});
    }
    settle(made);
    return made;
  }
  // Edges and a mask that go with the turned box.
  void settle(ScoredObject& made) {
    const UprightBox box = upright(made.turned);
    made.x1 = box.x1;
    made.y1 = box.y1;
    made.x2 = box.x2;
    made.y2 = box.y2;
    const std::array<Point, 4> diamond = {{{made.turned.center_x, made.y1},
                                           {made.x2, made.turned.center_y},
                                           {made.turned.center_x, made.y2},
                                           {made.x1, made.turned.center_y}}};
    made.mask_runs = polygon_runs(diamond, kWidth, kHeight);
  }

  // Most objects are found, some twice, some nearly, some as another class; and some are invented.
  std::vector<ScoredObject> found_of(const std::vector<ScoredObject>& truth, std::size_t points) {
    std::vector<ScoredObject> found;
    const auto add = [&](ScoredObject made, float shift) {
      made.turned.center_x += uniform(-shift, shift);
      made.turned.center_y += uniform(-shift, shift);
      made.turned.size_x *= uniform(0.85F, 1.15F);
      made.turned.theta += uniform(-0.1F, 0.1F);
      for (msgs::Keypoint2D& point : made.keypoints) {
        point.x += uniform(-shift, shift);
        point.y += uniform(-shift, shift);
      }
      if (chance(0.1)) made.class_id = (made.class_id + 1) % kClasses;
      made.score = std::round(uniform(0.05F, 1) * 40) / 40;  // equal scores, too
      settle(made);
      found.push_back(std::move(made));
    };
    for (const ScoredObject& one : truth) {
      if (chance(0.85)) add(one, 6);
      if (chance(0.2)) add(one, 12);
    }
    for (int i = 0; i < 3; ++i) add(object(points), 0);
    return found;
  }

  static json to_json(const std::vector<ScoredObject>& objects) {
    json list = json::array();
    for (const ScoredObject& one : objects) {
      json points = json::array();
      for (const auto& point : one.keypoints)
        points.push_back({point.x, point.y, point.visibility});
      list.push_back({{"class", one.class_id},
                      {"box", {one.x1, one.y1, one.x2, one.y2}},
                      {"score", one.score},
                      {"runs", one.mask_runs},
                      {"keypoints", points},
                      {"turned",
                       {one.turned.center_x, one.turned.center_y, one.turned.size_x,
                        one.turned.size_y, one.turned.theta}}});
    }
    return list;
  }

  // What the judge says; null, and the test skipped, if there is none.
  json judged(const json& given) {
    const std::string python = FOVEA_SOURCE_DIR "/build/coco_judge/bin/python";
    if (!fs::exists(python)) return {};
    const fs::path folder = fs::path(::testing::TempDir()) / ("judge" + std::to_string(getpid()));
    fs::create_directories(folder);
    std::ofstream(folder / "case.json") << given;
    Child judge(folder, python,
                {FOVEA_SOURCE_DIR "/tests/detector/coco_judge/judge.py", folder / "case.json"});
    const int code = judge.wait();
    EXPECT_TRUE(code == 0 || code == 77) << judge.err();
    const json said = json::parse(judge.out(), nullptr, false);
    fs::remove_all(folder);
    return code == 0 ? said : json();
  }

  std::mt19937 random_{7};
};

TEST_P(CocoJudge, GivesTheSameScores) {
  const Task task = GetParam();
  json given = {{"task", kTaskNames[static_cast<std::size_t>(task)]}, {"pictures", json::array()}};
  TaskAccuracy accuracy(task);
  for (int i = 0; i < 40; ++i) {
    Answer truth;
    Answer found;
    json picture = {{"width", kWidth}, {"height", kHeight}};
    if (task == Task::kClassify) {
      truth.classes = {static_cast<std::uint32_t>(uniform(0, 9.9F))};
      found.classes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
      std::shuffle(found.classes.begin(), found.classes.end(), random_);
      if (chance(0.4)) {
        std::iter_swap(found.classes.begin(),
                       std::find(found.classes.begin(), found.classes.end(), truth.classes[0]));
      }
      found.classes.resize(5);
      picture["truth"] = truth.classes[0];
      picture["found"] = found.classes;
    } else {
      const std::size_t points = task == Task::kPose ? 17 : 0;
      const int objects = static_cast<int>(uniform(0, 8.9F));
      for (int k = 0; k < objects; ++k) truth.objects.push_back(object(points));
      found.objects = found_of(truth.objects, points);
      picture["truth"] = to_json(truth.objects);
      picture["found"] = to_json(found.objects);
    }
    accuracy.add(truth, found);
    given["pictures"].push_back(std::move(picture));
  }
  const json said = judged(given);
  if (said.is_null()) {
    GTEST_SKIP() << "NOTICE: no judge of this task in build/coco_judge; tests/run.sh makes it";
  }
  const TaskScore score = accuracy.score();
  EXPECT_GT(score.map50_95, 0.05);
  EXPECT_LT(score.map50_95, 0.95);
  EXPECT_NEAR(score.map50_95, said["map50_95"].get<double>(), 1e-4);
  EXPECT_NEAR(score.map50, said["map50"].get<double>(), 1e-4);
  if (task != Task::kClassify && task != Task::kDetect) {
    EXPECT_NEAR(score.box_map50_95, said["box_map50_95"].get<double>(), 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Tasks, CocoJudge,
                         ::testing::Values(Task::kDetect, Task::kSegment, Task::kPose, Task::kObb,
                                           Task::kClassify),
                         [](const auto& task) {
                           return std::string(kTaskNames[static_cast<std::size_t>(task.param)]);
                         });

}  // namespace
}  // namespace fovea::test
