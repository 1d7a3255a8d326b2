// Distances of a picture from those that a network gives.
#include "nodes/postprocess/depth_values.hpp"

#include <cmath>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/postprocess/task_heads.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using test::at;
using test::kNan;
using test::make;
using test::model_of;
using test::refusal_of;
using testing::ElementsAre;
using testing::HasSubstr;

// The picture stretched to the network, as preprocess does for depth.
constexpr msgs::LetterboxTransform kStretched{.source_width = 640,
                                              .source_height = 240,
                                              .network_width = 160,
                                              .network_height = 160,
                                              .new_width = 160,
                                              .new_height = 160,
                                              .pad_left = 0,
                                              .pad_top = 0,
                                              .crop_left = 0,
                                              .crop_top = 0};

std::unique_ptr<msgs::DepthMap> map_of(const std::vector<float>& values,
                                       const msgs::LetterboxTransform& transform) {
  auto out = std::make_unique<msgs::DepthMap>();
  write_depth({values.data(), 4, 4, 1, 40}, transform, *out);
  return out;
}

TEST(DepthValues, OfAWholePictureAreTheCells) {
  std::vector<float> values(16);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1 + static_cast<float>(i);
  values[5] = kNan;
  values[6] = -1;
  values[7] = 0;
  const auto map = map_of(values, kStretched);
  EXPECT_EQ(map->source_width, 640u);
  EXPECT_EQ(map->width, 4u);
  EXPECT_EQ(map->height, 4u);
  ASSERT_EQ(map->depth.size(), 16u);
  for (std::size_t i = 0; i < 16; ++i) {
    if (i >= 5 && i <= 7) {
      EXPECT_TRUE(std::isnan(map->depth[i])) << i;
    } else {
      EXPECT_EQ(map->depth[i], values[i]) << i;
    }
  }
}

// With a border around the picture, the values within it: a plane stays the plane.
TEST(DepthValues, OfALetterboxedPictureAreThoseInIt) {
  std::vector<float> values;
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 4; ++x)
      values.push_back(1 + static_cast<float>(x) + 10 * static_cast<float>(y));
  }
  msgs::LetterboxTransform boxed = kStretched;
  boxed.new_height = 54;
  boxed.pad_top = 53;  // rows 53..106 of 0..159: thirds of them
  const auto map = map_of(values, boxed);
  for (std::size_t y = 0; y < 4; ++y) {
    const float row = 3 * (53 + 53 * static_cast<float>(y) / 3) / 159;
    for (std::size_t x = 0; x < 4; ++x) {
      EXPECT_NEAR(map->depth[4 * y + x], 1 + static_cast<float>(x) + 10 * row, 1e-3) << y << x;
    }
  }
}

TEST(DepthValues, WhereTheNetworkSawNothingAreNone) {
  msgs::LetterboxTransform crop = kStretched;
  crop.new_width = 320;
  crop.crop_left = 80;
  ASSERT_TRUE(crop.valid());
  const auto map = map_of(std::vector<float>(16, 2), crop);
  EXPECT_TRUE(std::isnan(map->depth[0]));
  EXPECT_EQ(map->depth[1], 2);
  EXPECT_EQ(map->depth[2], 2);
  EXPECT_TRUE(std::isnan(map->depth[3]));
}

TEST(DepthTask, GivesAMapAndNoDetections) {
  Postprocessor postprocessor = make(model_of(depth_head(8), 0));
  EXPECT_EQ(postprocessor.task(), Task::kDepth);
  test::Head head;
  head.add("depth", {20, 20, 1});
  std::fill(head.maps[0].values.begin(), head.maps[0].values.end(), 3.0f);
  *at(head, "depth", 4, 5) = kNan;
  const auto tensors = head.tensors();
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(tensors, kStretched, boxes));
  EXPECT_TRUE(boxes.detections.empty());
  EXPECT_EQ(postprocessor.best_class(), std::nullopt);
  EXPECT_EQ(postprocessor.not_finite().scores, 1u);
  const auto map = std::make_unique<msgs::DepthMap>();
  const test::AllocationGuard guard;
  ASSERT_TRUE(postprocessor.run(tensors, kStretched, boxes));
  postprocessor.depth(*map);
  EXPECT_EQ(guard.count(), 0u);
  EXPECT_EQ(map->depth.size(), 400u);
  EXPECT_EQ(map->depth[0], 3);
  EXPECT_TRUE(std::isnan(map->depth[4 * 20 + 5]));
}

TEST(DepthTask, RefusesHeadsThatAreNoMap) {
  msgs::ModelInfo named = model_of(depth_head(8), 1);
  EXPECT_THAT(refusal_of(named), HasSubstr("there are names of 1"));
  msgs::ModelInfo large = model_of(depth_head(1), 0);
  large.network_width = large.network_height = 512;
  EXPECT_THAT(refusal_of(large), HasSubstr("cells of the map is 262144; it must be 1..131072"));
  HeadSpec logits = depth_head(8);
  logits.maps[0].encoding = OutputEncoding::kLogit;
  EXPECT_THAT(refusal_of(model_of(logits, 0)), HasSubstr("depth is logit"));
  HeadSpec classless = semantic_head(1, 8);
  EXPECT_THAT(refusal_of(model_of(classless, 0)), HasSubstr("class count is 0"));
}

}  // namespace
}  // namespace fovea
