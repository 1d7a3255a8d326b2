// Label files of every task, as Ultralytics writes them.
#include "nodes/detector/accuracy/labelled_set.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

namespace fovea {
namespace {

namespace fs = std::filesystem;

class LabelledSetOfTask : public testing::Test {
 protected:
  LabelledSetOfTask()
      : folder_(fs::temp_directory_path() / ("fovea-labels-" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "images");
    fs::create_directories(folder_ / "labels");
    std::ofstream(folder_ / "images/a.jpg") << "never opened";
    std::ofstream(folder_ / "classes.txt") << "cat\ndog\n";
  }
  ~LabelledSetOfTask() override { fs::remove_all(folder_); }

  Result<LabelledSet> read(const std::string& labels, const LabelFormat& format) const {
    std::ofstream(folder_ / "labels/a.txt") << labels;
    return read_labelled_set(folder_, format);
  }
  // In a picture of 100 x 50.
  ScoredObject object(const std::string& labels, const LabelFormat& format) const {
    const auto set = read(labels, format);
    EXPECT_TRUE(set) << set.error().message;
    return set ? truth_of(set->pictures.at(0), format.task, 100, 50).objects.at(0) : ScoredObject{};
  }
  void expect_refused(const std::string& line, const LabelFormat& format) const {
    const auto set = read("\n" + line + "\n", format);
    ASSERT_FALSE(set) << line;
    EXPECT_EQ(set.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(set.error().message.find("a.txt:2: label is '"), std::string::npos)
        << set.error().message;
  }

  fs::path folder_;
};

const LabelFormat kSegmentFormat{Task::kSegment, 0, {}};
const LabelFormat kTwoPoints{Task::kPose, 2, {}};
const LabelFormat kObbFormat{Task::kObb, 0, {}};
const std::string kBoxLine = "1 0.5 0.5 0.2 0.4";
const std::string kPoseLine = "1 0.5 0.5 0.2 0.4 0.45 0.5 2 0 0 0";
const std::string kCornersLine = "1 0.4 0.3 0.6 0.3 0.6 0.7 0.4 0.7";

TEST_F(LabelledSetOfTask, OutlineBecomesAMask) {
  const ScoredObject found = object(kCornersLine, kSegmentFormat);
  EXPECT_EQ(found.class_id, 1U);
  EXPECT_FLOAT_EQ(found.x1, 40);
  EXPECT_FLOAT_EQ(found.y2, 35);
  std::size_t pixels = 0;
  for (std::size_t i = 1; i < found.mask_runs.size(); i += 2) pixels += found.mask_runs[i];
  EXPECT_EQ(pixels, 20U * 20U);
}

TEST_F(LabelledSetOfTask, PointsHaveTheirVisibility) {
  const ScoredObject found = object(kPoseLine, kTwoPoints);
  EXPECT_FLOAT_EQ(found.x1, 40);
  ASSERT_EQ(found.keypoints.size(), 2U);
  EXPECT_FLOAT_EQ(found.keypoints[0].x, 45);
  EXPECT_FLOAT_EQ(found.keypoints[0].y, 25);
  EXPECT_EQ(found.keypoints[0].visibility, 1);
  EXPECT_EQ(found.keypoints[1].visibility, 0);
  EXPECT_EQ(object(kBoxLine + " 0.1 0.2 0.3 0.4", kTwoPoints).keypoints[1].visibility, 1);
}

TEST_F(LabelledSetOfTask, CornersBecomeATurnedBox) {
  // A square of side sqrt(200) on its corner, in pixels: (50, 15), (60, 25), (50, 35), (40, 25).
  const ScoredObject found = object("0 0.5 0.3 0.6 0.5 0.5 0.7 0.4 0.5", kObbFormat);
  EXPECT_NEAR(found.turned.center_x, 50, 1e-4);
  EXPECT_NEAR(found.turned.center_y, 25, 1e-4);
  EXPECT_NEAR(found.turned.size_x, 14.1421, 1e-3);
  EXPECT_NEAR(found.turned.size_y, 14.1421, 1e-3);
  EXPECT_NEAR(found.turned.theta, 0.785398, 1e-4);
  EXPECT_FLOAT_EQ(found.x1, 40);
}

TEST_F(LabelledSetOfTask, LabelsOfAnotherTaskAreRefusedWithFileAndLine) {
  for (const LabelFormat& format : {kSegmentFormat, kTwoPoints, kObbFormat}) {
    expect_refused(kBoxLine, format);
  }
  expect_refused(kPoseLine + " 0 0 0", kTwoPoints);
  expect_refused(kPoseLine, kObbFormat);
  expect_refused(kCornersLine + " 0.4 0.8", kObbFormat);
  expect_refused(kCornersLine, LabelFormat{});
  expect_refused(kPoseLine, LabelFormat{});
  expect_refused("1 0.5 0.5 0.2 0.4 0.45 0.5 3 0 0 0", kTwoPoints);
  expect_refused("2 0.4 0.3 0.6 0.3 0.6 0.7", kSegmentFormat);
  expect_refused("1 0.4 0.3 0.6 0.3 0.6 0.7 x", kSegmentFormat);
  expect_refused("1 0.4 0.3 0.6 0.3 0.6 1.7", kSegmentFormat);
}

TEST_F(LabelledSetOfTask, FoldersOfAClassifierAreItsClasses) {
  const LabelFormat format{Task::kClassify, 0, {"cat", "dog"}};
  for (const char* name : {"dog", "0"}) {
    fs::create_directories(folder_ / name);
    std::ofstream(folder_ / name / "b.jpg") << "never opened";
  }
  const auto set = read_labelled_set(folder_, format);
  ASSERT_TRUE(set) << set.error().message;
  ASSERT_EQ(set->pictures.size(), 2U);
  EXPECT_EQ(set->pictures[0].truth.classes, std::vector<std::uint32_t>{0});
  EXPECT_EQ(set->pictures[1].truth.classes, std::vector<std::uint32_t>{1});
  fs::create_directories(folder_ / "horse");
  std::ofstream(folder_ / "horse/c.jpg") << "never opened";
  const auto unknown = read_labelled_set(folder_, format);
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("the folder is named 'horse'"), std::string::npos);
}

}  // namespace
}  // namespace fovea
