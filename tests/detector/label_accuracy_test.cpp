// mIoU and pixel accuracy of label maps, and labels as pictures.
#include "nodes/detector/accuracy/label_accuracy.hpp"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/accuracy/label_picture.hpp"
#include "nodes/detector/accuracy/task_accuracy.hpp"

namespace fovea {
namespace {

using testing::HasSubstr;

constexpr std::uint8_t kNone = LabelPicture::kNoClass;

TEST(LabelTally, IsTheMeanOfWhatBothShareByWhatEitherHas) {
  LabelTally tally;
  // Class 0: 2 of 3; class 1: 1 of 2; the last pixel does not count.
  tally.add({5, 1, {0, 0, 1, 1, kNone}}, {5, 1, {0, 0, 1, 0, 1}});
  EXPECT_DOUBLE_EQ(tally.mean_iou(), (2.0 / 3 + 1.0 / 2) / 2);
  EXPECT_DOUBLE_EQ(tally.pixel_accuracy(), 3.0 / 4);
  // What only the model sees lowers no mean of its own; what it leaves open is wrong.
  tally.add({2, 1, {0, 0}}, {2, 1, {2, kNone}});
  EXPECT_DOUBLE_EQ(tally.mean_iou(), (2.0 / 5 + 1.0 / 2) / 2);
  ASSERT_EQ(tally.classes().size(), 2u);
  EXPECT_EQ(tally.classes()[0].pixels, 4u);
}

TEST(LabelTally, ComparesPixelsOfTheTruthWithTheMapBelowThem) {
  LabelTally tally;
  tally.add({4, 2, {0, 0, 1, 1, 0, 0, 1, 1}}, {2, 1, {0, 1}});
  EXPECT_DOUBLE_EQ(tally.mean_iou(), 1);
  tally.add({1, 1, {0}}, {});
  EXPECT_DOUBLE_EQ(tally.pixel_accuracy(), 8.0 / 9);
}

TEST(LabelTally, OfNothingIsZero) {
  LabelTally tally;
  EXPECT_EQ(tally.mean_iou(), 0);
  tally.add({1, 1, {kNone}}, {1, 1, {0}});
  EXPECT_EQ(tally.mean_iou(), 0);
  EXPECT_EQ(tally.pixel_accuracy(), 0);
}

TEST(TaskAccuracy, OfMapsIsMiouAndPixels) {
  TaskAccuracy good(Task::kSemantic);
  TaskAccuracy bad(Task::kSemantic);
  for (int i = 0; i < 4; ++i) {
    const Answer truth{{}, {}, {2, 1, {0, 1}}};
    good.add(truth, truth);
    bad.add(truth, {{}, {}, {2, 1, {0, static_cast<std::uint8_t>(i % 2)}}});
  }
  EXPECT_DOUBLE_EQ(good.score().map50_95, 1);
  EXPECT_DOUBLE_EQ(bad.score().map50, 0.75);
  EXPECT_GT(TaskAccuracy::difference_half_width(good, bad), 0);
  EXPECT_EQ(metric_names(Task::kSemantic).map50_95, "mIoU");
}

TEST(LabelPicture, IsGrayAndOfKnownClasses) {
  const auto reader = [](std::vector<int> bgr) {
    return [bgr](const std::string&) -> Result<Picture> {
      Picture picture{static_cast<std::uint32_t>(bgr.size() / 3), 1, {}};
      for (const int value : bgr) picture.bgr.push_back(static_cast<std::byte>(value));
      return picture;
    };
  };
  const auto labels = read_label_picture("m.png", 3, reader({2, 2, 2, 255, 255, 255}));
  ASSERT_TRUE(labels);
  EXPECT_EQ(labels->labels, (std::vector<std::uint8_t>{2, kNone}));
  const auto coloured = read_label_picture("m.png", 3, reader({1, 1, 1, 1, 2, 1}));
  ASSERT_FALSE(coloured);
  EXPECT_THAT(coloured.error().message, HasSubstr("m.png: the pixel (1, 0) has a colour"));
  const auto unknown = read_label_picture("m.png", 3, reader({3, 3, 3}));
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, HasSubstr("is of class 3; it must be 0..2"));
}

TEST(DepthTally, IsTheMeanRelativeErrorOfKnownPixels) {
  TaskAccuracy depth(Task::kDepth);
  const Answer truth{{}, {}, {}, {4, 1, {1, 2, 4, 0}}};
  depth.add(truth, {{}, {}, {}, {4, 1, {1, 2.2F, 6, 9}}});
  EXPECT_NEAR(depth.score().map50_95, 1 - (0.1 + 0.5) / 3, 1e-6);
  EXPECT_NEAR(depth.score().map50, 2.0 / 3, 1e-9);
  depth.add(truth, {{}, {}, {}, {4, 1, {-1, std::nanf(""), 4, 0}}});
  EXPECT_NEAR(depth.score().map50_95, 1 - (0.1 + 0.5 + 2) / 6, 1e-6);
  TaskAccuracy nothing(Task::kDepth);
  EXPECT_EQ(nothing.score().map50_95, 0);
  nothing.add(truth, {});
  EXPECT_EQ(nothing.score().map50_95, 0);
}

}  // namespace
}  // namespace fovea
