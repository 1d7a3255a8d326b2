// Masks, skeletons, turned boxes and classes: each in the file, the table and the picture.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "nodes/predict/annotate.hpp"
#include "nodes/predict/result_file.hpp"
#include "nodes/predict/result_table.hpp"
#include "nodes/predict/skeleton.hpp"

namespace fovea::predict {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr std::uint32_t kWidth = 200;
constexpr std::uint32_t kHeight = 100;

Prediction prediction_of(Task task, Object object) {
  Prediction prediction;
  prediction.task = task;
  prediction.file = "a.jpg";
  prediction.width = kWidth;
  prediction.height = kHeight;
  prediction.objects = {std::move(object)};
  return prediction;
}

Object object_at(const Box& box) { return {3, "person", 0.5f, box}; }

// Columns 50..59, rows 20..79 of them.
Prediction segmented() {
  Object object = object_at({48, 18, 62, 82});
  object.mask = {50 * kHeight + 20};
  for (int column = 0; column < 10; ++column) {
    object.mask.insert(object.mask.end(), {60, kHeight - 60});
  }
  object.mask.back() = (kWidth - 60) * kHeight + 20;
  return prediction_of(Task::kSegment, object);
}

// All points hidden in the upper left corner.
Prediction posed(std::size_t points = 17) {
  Object object = object_at({100, 10, 190, 90});
  object.keypoints.assign(points, {5, 5, 0.49f});
  return prediction_of(Task::kPose, object);
}

Prediction turned() {
  Object object = object_at({20, 30, 80, 70});
  object.corners = {{32, 30}, {80, 54}, {68, 78}, {20, 54}};
  return prediction_of(Task::kObb, object);
}

Prediction classified() {
  Prediction prediction = prediction_of(Task::kClassify, {});
  prediction.objects.clear();
  prediction.classes = {{281, "tabby", 0.75f}, {282, "tiger", 0.125f}};
  return prediction;
}

json object_of(const Prediction& prediction) {
  return json::parse(to_json(prediction))["detections"].at(0);
}

std::string table_of(const Prediction& prediction) {
  const std::vector<Input> inputs{{prediction.file, false}};
  const ResultTable table(inputs, std::vector<std::string>{"person"}, prediction.task);
  return table.head() + table.rows(prediction);
}

class Drawn {
 public:
  explicit Drawn(const Prediction& prediction)
      : picture_{kWidth, kHeight, std::vector<std::byte>(kWidth * kHeight * 3)} {
    annotate(picture_, prediction);
  }
  bool is_dark(std::size_t x, std::size_t y) const {
    const std::byte* pixel = picture_.bgr.data() + (y * kWidth + x) * 3;
    return pixel[0] == std::byte{0} && pixel[1] == std::byte{0} && pixel[2] == std::byte{0};
  }

 private:
  Picture picture_;
};

TEST(Tasks, AFieldThatATaskDoesNotHaveIsLeftOut) {
  const json plain = object_of(prediction_of(Task::kDetect, object_at({1, 2, 3, 4})));
  for (const char* field : {"mask", "keypoints", "corners"}) EXPECT_FALSE(plain.contains(field));
  EXPECT_FALSE(object_of(segmented()).contains("keypoints"));
  EXPECT_FALSE(object_of(posed()).contains("corners"));
  EXPECT_FALSE(object_of(turned()).contains("mask"));
  EXPECT_FALSE(json::parse(to_json(segmented())).contains("top5"));
}

TEST(Tasks, MasksAreRunLengthsWithTheirSize) {
  const json mask = object_of(segmented())["mask"];
  EXPECT_EQ(mask["size"], json({kHeight, kWidth}));
  EXPECT_EQ(mask["counts"].size(), 21U);
  EXPECT_EQ(mask["counts"][0], 5020);
  EXPECT_EQ(mask["counts"][1], 60);
  EXPECT_THAT(table_of(segmented()), HasSubstr("y2    pixels  of box\n"));
  EXPECT_THAT(table_of(segmented()), HasSubstr("82.0       600    67 %\n"));
}

TEST(Tasks, ObjectsForWhoseMaskThereWasNoRoomHaveNone) {
  Prediction prediction = segmented();
  prediction.objects[0].mask.clear();
  EXPECT_FALSE(object_of(prediction).contains("mask"));
  EXPECT_THAT(table_of(prediction), HasSubstr("82.0         -       -\n"));
  EXPECT_TRUE(Drawn(prediction).is_dark(55, 50));
}

TEST(Tasks, MasksAreDrawnAndThoseOfAnotherSizeAreNot) {
  Prediction prediction = segmented();
  const Drawn drawn(prediction);
  EXPECT_FALSE(drawn.is_dark(55, 50));
  EXPECT_TRUE(drawn.is_dark(150, 50));
  prediction.objects[0].mask.back() += 1;
  EXPECT_TRUE(Drawn(prediction).is_dark(55, 50));
}

TEST(Tasks, KeypointsAreListedAndTheVisibleOnesCounted) {
  Prediction prediction = posed();
  prediction.objects[0].keypoints[3] = {120.5f, 40, 0.5f};
  const json points = object_of(prediction)["keypoints"];
  ASSERT_EQ(points.size(), 17U);
  EXPECT_EQ(points[3], json({120.5, 40, 0.5}));
  EXPECT_THAT(table_of(prediction), HasSubstr("y2  visible\n"));
  EXPECT_THAT(table_of(prediction), HasSubstr("90.0     1/17\n"));
}

TEST(Tasks, HiddenKeypointsAndTheirLimbsAreNotDrawn) {
  Prediction prediction = posed();
  EXPECT_TRUE(Drawn(prediction).is_dark(5, 5));
  auto& points = prediction.objects[0].keypoints;
  points[5] = {120, 60, 1};  // shoulders
  points[6] = {160, 60, 1};
  points[11] = {20, 90, 0.49f};  // a hip below one of them
  const Drawn drawn(prediction);
  EXPECT_FALSE(drawn.is_dark(120, 60));
  EXPECT_FALSE(drawn.is_dark(140, 60));  // between them
  EXPECT_TRUE(drawn.is_dark(70, 75));    // towards the hip
  EXPECT_TRUE(drawn.is_dark(20, 90));
}

TEST(Tasks, PointsOfAnotherNumberAreNotJoined) {
  Prediction prediction = posed(4);
  prediction.objects[0].keypoints = {{120, 60, 1}, {160, 60, 1}, {140, 30, 1}, {NAN, 3, 1}};
  const Drawn drawn(prediction);
  EXPECT_FALSE(drawn.is_dark(120, 60));
  EXPECT_FALSE(drawn.is_dark(160, 60));
  EXPECT_TRUE(drawn.is_dark(140, 60));
}

TEST(Tasks, LimbsOfAPersonJoinEachPointOnce) {
  const Skeleton skeleton = skeleton_of(17);
  ASSERT_EQ(skeleton.parts.size(), 17U);
  std::vector<int> uses(17);
  for (const Limb& limb : skeleton.limbs) {
    ASSERT_LT(limb.from, 17U);
    ASSERT_LT(limb.to, 17U);
    ++uses[limb.from];
    ++uses[limb.to];
  }
  EXPECT_EQ(uses, (std::vector<int>{2, 2, 2, 1, 1, 3, 3, 2, 2, 1, 1, 3, 3, 2, 2, 1, 1}));
  EXPECT_TRUE(skeleton_of(16).limbs.empty());
}

TEST(Tasks, TurnedBoxesHaveCornersAndInTheTableAnAngle) {
  const json object = object_of(turned());
  EXPECT_EQ(object["corners"], json({{32, 30}, {80, 54}, {68, 78}, {20, 54}}));
  EXPECT_EQ(object["box"], json({20, 30, 80, 70}));
  EXPECT_EQ(table_of(turned()),
            "picture   class     score         x         y         w         h  angle\n"
            "a.jpg     person     0.50      50.0      54.0      53.7      26.8   26.6\n");
}

// A box has no front: an angle is of 0..180, and what would be written as 180.0 is 0.0.
TEST(Tasks, AnglesOfTurnedBoxesAreBelowAHalfTurn) {
  for (const auto& [radians, written] : {std::pair{-0.1, " 174.3\n"},
                                         {3.2, "   3.3\n"},
                                         {3.1415, "   0.0\n"},
                                         {-1e-5, "   0.0\n"}}) {
    const auto c = static_cast<float>(std::cos(radians));
    const auto s = static_cast<float>(std::sin(radians));
    Prediction prediction = turned();
    prediction.objects[0].corners = {{0, 0}, {40 * c, 40 * s}, {40 * c - s, 40 * s + c}, {-s, c}};
    EXPECT_THAT(table_of(prediction), HasSubstr(written)) << radians;
  }
}

TEST(Tasks, TurnedBoxesAreDrawnByTheirCorners) {
  const Drawn drawn(turned());
  EXPECT_FALSE(drawn.is_dark(56, 42));  // between two corners
  EXPECT_TRUE(drawn.is_dark(50, 54));   // inside
  EXPECT_TRUE(drawn.is_dark(20, 69));   // in the box around it
}

TEST(Tasks, ClassifiedPicturesHaveClassesAndNoObjects) {
  const json picture = json::parse(to_json(classified()));
  EXPECT_FALSE(picture.contains("detections"));
  EXPECT_EQ(picture["top5"], json({{281, 0.75}, {282, 0.125}}));
  EXPECT_EQ(picture["classes"][1], json({{"class_id", 282}, {"class", "tiger"}, {"score", 0.125}}));
  EXPECT_EQ(table_of(classified()),
            "picture   class     score\n"
            "a.jpg     tabby      0.75\n"
            "          tiger      0.12\n");
  const Drawn drawn(classified());
  EXPECT_TRUE(drawn.is_dark(1, 1));
  EXPECT_TRUE(drawn.is_dark(190, 90));
  std::size_t lit = 0;
  for (std::size_t y = 0; y < kHeight; ++y) lit += drawn.is_dark(12, y) ? 0 : 1;
  EXPECT_GE(lit, 6U);  // the bars' left ends
}

TEST(Tasks, SummaryOfClassifiedPicturesCountsNoObjects) {
  Summary summary;
  summary.task = Task::kClassify;
  summary.pictures = 3;
  EXPECT_THAT(summary_text(summary, {{"tabby", 2}, {"tiger", 1}}, 1),
              HasSubstr("3 pictures (tabby 2, tiger 1) in 1.0 s"));
}

TEST(Tasks, TheFileSaysWhichTaskItIs) {
  for (const Prediction& prediction : {segmented(), posed(), turned(), classified()}) {
    testing::internal::CaptureStdout();
    ResultFile file("-", "m.onnx", prediction.task);
    EXPECT_TRUE(file.add(prediction));
    EXPECT_TRUE(file.finish({}));
    const json written = json::parse(testing::internal::GetCapturedStdout(), nullptr, false);
    ASSERT_TRUE(written.is_object());
    EXPECT_EQ(written["task"], kTaskNames[static_cast<std::size_t>(prediction.task)]);
    EXPECT_EQ(written["pictures"].size(), 1U);
  }
}

TEST(Tasks, CoordinatesOfAnySizeAreDrawnAndWritten) {
  constexpr float kHuge = std::numeric_limits<float>::max();
  for (const float bad : {kHuge, -kHuge, NAN, INFINITY}) {
    Prediction pose = posed();
    pose.objects[0].box = {bad, bad, bad, bad};
    for (Keypoint& point : pose.objects[0].keypoints) point = {bad, bad, 1};
    Prediction obb = turned();
    obb.objects[0].corners.assign(4, {bad, bad});
    for (const Prediction& prediction : {pose, obb}) {
      EXPECT_TRUE(Drawn(prediction).is_dark(100, 50));
      EXPECT_FALSE(json::parse(to_json(prediction), nullptr, false).is_discarded());
      EXPECT_THAT(table_of(prediction), HasSubstr("person"));
    }
  }
}

}  // namespace
}  // namespace fovea::predict
