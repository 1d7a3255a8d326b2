// What `fovea predict` finds beside boxes, through the program: file, table and picture.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <opencv2/imgcodecs.hpp>

#include "tests/predict/program_fixture.hpp"
#include "tests/predict/task_models.hpp"

namespace fovea {
namespace {

using nlohmann::json;
using test::Outcome;
using testing::HasSubstr;

class PredictedTasks : public test::PredictProgram {
 protected:
  // What is found in a picture of 128x128, twice the network's input.
  json found_by(const std::string& model) {
    const std::string picture = put("a.png", cv::Mat(128, 128, CV_8UC3, cv::Scalar(70, 70, 70)));
    const Outcome outcome =
        predict({model, picture, "--json", path("r.json"), "--save", path("out")});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    table_ = outcome.out;
    drawn_ = cv::imread(path("out/a.png"));
    return results();
  }
  json objects_of(const test::ThirdMap& third) {
    const test::TaskModel model(third);
    model.save(path("model.onnx"));
    const json file = found_by(path("model.onnx"));
    EXPECT_EQ(file["task"], third.task);
    json objects = file["pictures"].at(0)["detections"];
    EXPECT_EQ(objects.size(), 4U) << file;
    for (const json& object : objects) {
      EXPECT_EQ(object["class"], "dog");
      EXPECT_NEAR(object["score"].get<double>(), 0.9, 1e-3);
    }
    return objects;
  }
  // Of the object whose box begins in the upper left quarter.
  static json first_of(const json& objects) {
    for (const json& object : objects) {
      if (object["box"][0] < 32 && object["box"][1] < 32) return object;
    }
    return objects.at(0);
  }
  bool is_drawn(int x, int y) const { return drawn_.at<cv::Vec3b>(y, x) != cv::Vec3b(70, 70, 70); }
  static void expect_near(const json& values, const std::vector<double>& expected) {
    ASSERT_EQ(values.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(values[i].get<double>(), expected[i], 0.01) << i;
    }
  }

  std::string table_;
  cv::Mat drawn_;
};

TEST_F(PredictedTasks, MasksArePixelsOfThePicture) {
  const json object = first_of(objects_of({"segment", {1, 1, 1, 1}}));
  expect_near(object["box"], {6.4, 6.4, 57.6, 57.6});
  const json& mask = object["mask"];
  EXPECT_EQ(mask["size"], json({128, 128}));
  std::uint32_t sum = 0;
  std::uint32_t inside = 0;
  for (std::size_t i = 0; i < mask["counts"].size(); ++i) {
    sum += mask["counts"][i].get<std::uint32_t>();
    if (i % 2 == 1) inside += mask["counts"][i].get<std::uint32_t>();
  }
  EXPECT_EQ(sum, 128U * 128U);
  EXPECT_NEAR(inside, 51 * 51, 110);  // the sums are above 0 everywhere, so all of the box
  EXPECT_THAT(table_, HasSubstr("pixels  of box"));
  EXPECT_TRUE(is_drawn(30, 40));
  EXPECT_FALSE(is_drawn(64, 64));  // between the four
}

TEST_F(PredictedTasks, KeypointsArePixelsOfThePicture) {
  // A quarter of a cell to the right and below the centre, and a hidden one.
  const json object = first_of(objects_of({"pose", {0.25, 0.25, 9, -0.25, -0.25, -9}}));
  const json& points = object["keypoints"];
  ASSERT_EQ(points.size(), 2U);
  expect_near(points[0], {48, 48, 1});
  expect_near(points[1], {16, 16, 0});
  EXPECT_THAT(table_, HasSubstr("    1/2\n"));
  EXPECT_TRUE(is_drawn(48, 48));
  EXPECT_FALSE(is_drawn(30, 40));
}

TEST_F(PredictedTasks, TurnedBoxesAreCornersInThePicture) {
  const double angle = 0.5;
  const json objects = objects_of({"obb", {angle}});
  const json object = first_of(objects);
  const double half = 25.6;
  const double x = half * (std::cos(angle) - std::sin(angle));
  const double y = half * (std::sin(angle) + std::cos(angle));
  ASSERT_EQ(object["corners"].size(), 4U);
  expect_near(object["corners"][0], {32 - x, 32 - y});
  expect_near(object["corners"][1], {32 + y, 32 - x});
  expect_near(object["corners"][2], {32 + x, 32 + y});
  expect_near(object["corners"][3], {32 - y, 32 + x});
  expect_near(object["box"], {32 - y, 32 - y, 32 + y, 32 + y});  // beyond the picture
  EXPECT_THAT(table_, HasSubstr("      51.2      51.2   28.6\n"));
}

TEST_F(PredictedTasks, ClassifiedPicturesAreOfTheirBestClass) {
  engine::test::OnnxWriter writer;
  writer.input("images", {1, 3, 64, 64});
  writer.floats("w", {3, 3, 8, 8}, std::vector<double>(576, 0.0));
  writer.floats("b", {3}, {0, 2, 1});
  writer.node("Conv", {"images", "w", "b"}, {"cells"},
              {{"strides", std::vector<std::int64_t>{8, 8}}});
  writer.node("GlobalAveragePool", {"cells"}, {"mean"});
  writer.node("Flatten", {"mean"}, {"logits"});
  writer.node("Softmax", {"logits"}, {"output0"}, {{"axis", std::int64_t{1}}});
  writer.output("output0");
  writer.metadata("task", "classify").metadata("names", "{0: 'cat', 1: 'dog', 2: 'cow'}");
  writer.save(path("model.onnx"));

  const json file = found_by(path("model.onnx"));
  EXPECT_EQ(file["task"], "classify");
  const json& picture = file["pictures"].at(0);
  EXPECT_FALSE(picture.contains("detections"));
  ASSERT_EQ(picture["top5"].size(), 3U);
  expect_near(picture["top5"][0], {1, 0.665});
  expect_near(picture["top5"][2], {0, 0.090});
  EXPECT_EQ(picture["classes"][1]["class"], "cow");
  EXPECT_THAT(table_, HasSubstr("dog        0.67\n"));
  EXPECT_THAT(table_, HasSubstr("1 picture (dog 1) in"));
  EXPECT_TRUE(is_drawn(20, 20));
  EXPECT_FALSE(is_drawn(120, 120));
}

TEST_F(PredictedTasks, MapsAreLabelsOfThePicture) {
  test::semantic_model().save(path("model.onnx"));
  cv::Mat bright(128, 128, CV_8UC3, cv::Scalar(10, 10, 10));
  bright(cv::Rect(0, 0, 128, 32)) = cv::Scalar(250, 250, 250);
  const std::string picture = put("a.png", bright);
  const Outcome outcome =
      predict({path("model.onnx"), picture, "--json", path("r.json"), "--save", path("out")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json file = results();
  EXPECT_EQ(file["task"], "semantic");
  const json& found = file["pictures"].at(0);
  EXPECT_FALSE(found.contains("detections"));
  ASSERT_EQ(found["classes"].size(), 2U);
  EXPECT_EQ(found["classes"][0]["class"], "ground");
  EXPECT_NEAR(found["classes"][0]["share"].get<double>(), 0.75, 0.02);
  const json& map = found["semantic_map"];
  EXPECT_EQ(map["size"], json({64, 64}));
  EXPECT_EQ(map["runs"].size(), 64U);
  EXPECT_EQ(map["runs"][0], json({1, 64}));
  EXPECT_EQ(map["runs"][63], json({0, 64}));
  EXPECT_THAT(outcome.out, HasSubstr("share\n"));
  EXPECT_THAT(outcome.out, HasSubstr("1 picture (ground 1) in"));
  const cv::Mat drawn = cv::imread(path("out/a.png"));
  EXPECT_NE(drawn.at<cv::Vec3b>(120, 120), cv::Vec3b(10, 10, 10));
}

TEST_F(PredictedTasks, DepthIsDistancesOfThePicture) {
  test::depth_model().save(path("model.onnx"));
  cv::Mat bright(96, 128, CV_8UC3, cv::Scalar(0, 0, 0));
  bright(cv::Rect(0, 0, 64, 96)) = cv::Scalar(255, 255, 255);
  const std::string picture = put("a.png", bright);
  const Outcome outcome =
      predict({path("model.onnx"), picture, "--json", path("r.json"), "--save", path("out")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err.find("warning"), std::string::npos) << outcome.err;
  const json file = results();
  EXPECT_EQ(file["task"], "depth");
  const json& depth = file["pictures"].at(0)["depth"];
  EXPECT_EQ(depth["unit"], "m");
  EXPECT_EQ(depth["size"], json({16, 16}));  // the whole picture, its aspect lost
  ASSERT_EQ(depth["values"].size(), 256U);
  EXPECT_NEAR(depth["values"][0].get<double>(), 2.71828, 1e-3);
  EXPECT_NEAR(depth["values"][255].get<double>(), 1, 1e-3);
  EXPECT_NEAR(depth["nearest"].get<double>(), 1, 1e-3);
  EXPECT_THAT(outcome.out, HasSubstr("nearest    median  farthest  (m)\n"));
  EXPECT_THAT(outcome.out, HasSubstr("      2.72\n"));
  const cv::Mat drawn = cv::imread(path("out/a.png"));
  EXPECT_NE(drawn.at<cv::Vec3b>(90, 120), cv::Vec3b(0, 0, 0));
}

}  // namespace
}  // namespace fovea
