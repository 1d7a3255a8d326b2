// The process around decoder and suppression, when the model gives what is no number. Real process;
// the test plays the detector.
#include <array>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "msgs/classification.hpp"
#include "msgs/depth_map.hpp"
#include "msgs/detection.hpp"
#include "msgs/instance_mask.hpp"
#include "msgs/keypoints.hpp"
#include "msgs/model_info.hpp"
#include "msgs/oriented_box.hpp"
#include "msgs/semantic_map.hpp"
#include "msgs/tensor.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using test::Child;
using test::eventually;

constexpr std::int64_t kAnchors = 8;
constexpr std::int64_t kFields = 6;  // cx, cy, w, h, objectness, one class
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class PostprocessNode : public ::testing::Test {
 protected:
  PostprocessNode() {
    msgs::ModelInfo info;
    info.model_id = 42;
    info.head = objectness_head(1);
    info.network_width = info.network_height = 64;
    info.class_names.push_back(std::string_view("gate"));
    info_.publish(info);
  }

  void start() {
    node_ =
        std::make_unique<Child>(domain_.root(), FOVEA_BIN_DIR "/fovea-postprocess",
                                std::vector<std::string>{"--domain", "test", "--cameras", "cam"});
    ASSERT_TRUE(eventually([&] {
      info_.subscription_count();  // serves late subscribers
      return heads_.subscription_count() > 0 && status().empty() &&
             level() == msgs::DiagnosticLevel::kOk;
    })) << node_->err();
    ASSERT_TRUE(eventually([&] {  // until its detections get here
      send(0);
      detections_.drain();
      return detections_.take().has_value();
    })) << node_->err();
    errors_ = metric("frames_dropped", "error");
  }
  // Every anchor is one object of score 1, except that the first `broken` ones have a NaN in it.
  void send(std::int64_t broken) {
    std::vector<float> rows;
    for (std::int64_t i = 0; i < kAnchors; ++i) {
      const float score = i < broken ? kNan : 1.0f;
      rows.insert(rows.end(), {4.0f + 8.0f * static_cast<float>(i), 30, 6, 6, score, 1});
    }
    const std::size_t bytes = rows.size() * sizeof(float);
    auto slot = heads_.loan(bytes);
    ASSERT_TRUE(slot);
    std::memcpy(slot->data().data(), rows.data(), bytes);
    msgs::TensorView view;
    view.name = "output0";
    view.rank = 2;
    view.dims[0] = kAnchors;
    view.dims[1] = kFields;
    view.bytes = bytes;
    msgs::TensorArray array;
    array.model_id = 42;
    array.header.seq = ++sent_;
    array.letterbox = {64, 64, 64, 64, 64, 64, 0, 0, 0, 0};
    array.tensors.push_back(view);
    heads_.publish(array, *std::move(slot), bytes);
  }
  std::size_t found() {
    std::optional<Received<msgs::Detection2DArray>> got;
    EXPECT_TRUE(eventually([&] {
      detections_.drain();
      got = detections_.take();
      return got && got->message.header.seq == sent_;
    }));
    return got ? got->message.detections.size() : 0;
  }
  std::uint64_t metric(const char* name, const char* label = "") const {
    const auto reader = MetricsReader::open(*domain_, "postprocess");
    return reader ? (*reader)->value(name, "cam", label) : 0;
  }
  std::string status() const {
    const auto reader = MetricsReader::open(*domain_, "postprocess");
    return reader ? (*reader)->status() : "";
  }
  std::optional<msgs::DiagnosticLevel> level() const {
    const auto reader = MetricsReader::open(*domain_, "postprocess");
    return reader ? std::optional((*reader)->level()) : std::nullopt;
  }
  std::size_t warnings() const {
    std::size_t count = 0;
    const std::string text = node_->err();
    for (std::size_t at = text.find("NaN or infinity"); at != std::string::npos;
         at = text.find("NaN or infinity", at + 1)) {
      ++count;
    }
    return count;
  }

  test::TestDomain domain_;
  Publisher<msgs::ModelInfo> info_ = *Publisher<msgs::ModelInfo>::create(
      *domain_, "detector/model_info", {.durability = Durability::kTransientLocal});
  Publisher<msgs::TensorArray> heads_ =
      *Publisher<msgs::TensorArray>::create(*domain_, "cam/heads");
  Subscription<msgs::Detection2DArray> detections_ =
      *Subscription<msgs::Detection2DArray>::create(*domain_, "cam/detections");
  std::unique_ptr<Child> node_;
  std::uint64_t sent_ = 0;
  std::uint64_t errors_ = 0;  // before the test's own frames
};

TEST_F(PostprocessNode, FramesOfOnlyNanAreErrorsSaidOnceAndClearedByAGoodOne) {
  start();
  for (std::uint64_t i = 1; i <= 3; ++i) {
    send(kAnchors);
    ASSERT_TRUE(eventually([&] { return metric("frames_dropped", "error") == errors_ + i; }));
  }
  EXPECT_EQ(metric("frames_not_finite"), 3u);
  EXPECT_EQ(level(), msgs::DiagnosticLevel::kWarn);
  EXPECT_NE(status().find("cam/heads: frames are refused: the model's outputs are not finite"),
            std::string::npos)
      << status();
  send(0);
  EXPECT_EQ(found(), 8u);
  EXPECT_TRUE(eventually([&] { return level() == msgs::DiagnosticLevel::kOk; })) << status();
  node_->send(SIGINT);
  EXPECT_EQ(node_->wait(), 0) << node_->err();
  EXPECT_EQ(warnings(), 1u) << node_->err();
  EXPECT_EQ(metric("frames_in"), metric("frames_out") + metric("frames_dropped", "error"));
}

TEST_F(PostprocessNode, NanInSomeRowsIsCountedAndSaidOnceWhileTheOthersAreDelivered) {
  start();
  for (int i = 0; i < 3; ++i) {
    send(3 + i);
    EXPECT_EQ(found(), static_cast<std::size_t>(5 - i));
  }
  EXPECT_TRUE(eventually([&] { return metric("frames_not_finite") == 3; }));
  EXPECT_EQ(level(), msgs::DiagnosticLevel::kWarn);
  EXPECT_NE(status().find("NaN or infinity as scores of 3 anchors"), std::string::npos) << status();
  send(0);
  EXPECT_EQ(found(), 8u);
  EXPECT_TRUE(eventually([&] { return level() == msgs::DiagnosticLevel::kOk; })) << status();
  node_->send(SIGINT);
  EXPECT_EQ(node_->wait(), 0) << node_->err();
  EXPECT_EQ(warnings(), 1u) << node_->err();
  EXPECT_EQ(metric("frames_dropped", "error"), errors_);
}

// A model of another kind: what it finds has a topic of its own, beside the detections.
class PostprocessNodeTasks : public ::testing::Test {
 protected:
  // The node, or another model for the one that runs.
  void start(const HeadSpec& head, std::uint32_t classes) {
    msgs::ModelInfo info;
    info.model_id = 42;
    info.head = head;
    info.network_width = info.network_height = 64;
    for (std::uint32_t c = 0; c < classes; ++c) {
      info.class_names.push_back(std::string_view(fmt::format("class{}", c)));
    }
    info_.publish(info);
    if (node_ != nullptr) return;
    node_ =
        std::make_unique<Child>(domain_.root(), FOVEA_BIN_DIR "/fovea-postprocess",
                                std::vector<std::string>{"--domain", "test", "--cameras", "cam"});
    ASSERT_TRUE(eventually([&] {
      info_.subscription_count();
      const auto reader = MetricsReader::open(*domain_, "postprocess");
      return heads_.subscription_count() > 0 && reader && (*reader)->status().empty() &&
             (*reader)->level() == msgs::DiagnosticLevel::kOk;
    })) << node_->err();
  }

  // All maps of a head, one after the other; an object of class 0 wherever a class map is.
  void send(const HeadSpec& head) {
    std::vector<float> values;
    msgs::TensorArray array;
    for (const OutputMap& map : head.maps) {
      msgs::TensorView view;
      view.name = map.tensor;
      const std::int64_t side = map.stride == 0 ? 1 : 64 / map.stride;
      view.rank = map.stride == 0 ? 1 : 3;
      view.dims = map.stride == 0 ? std::array<std::int64_t, 6>{map.channels}
                                  : std::array<std::int64_t, 6>{side, side, map.channels};
      view.offset = values.size() * sizeof(float);
      for (std::int64_t cell = 0; cell < side * side; ++cell) {
        for (std::uint32_t c = 0; c < map.channels; ++c) {
          const bool is_score = map.role == OutputRole::kClassScore;
          values.push_back(is_score && (cell > 0 || c > 0) ? -9.0f : 0.5f);
        }
      }
      view.bytes = values.size() * sizeof(float) - view.offset;
      array.tensors.push_back(view);
    }
    const std::size_t bytes = values.size() * sizeof(float);
    auto slot = heads_.loan(bytes);
    ASSERT_TRUE(slot);
    std::memcpy(slot->data().data(), values.data(), bytes);
    array.model_id = 42;
    array.header.seq = ++sent_;
    array.letterbox = {64, 64, 64, 64, 64, 64, 0, 0, 0, 0};
    heads_.publish(array, *std::move(slot), bytes);
  }

  // What `topic` has of the last frame that was sent; frames go until one gets there.
  template <class M>
  std::unique_ptr<M> next(const HeadSpec& head, const std::string& topic) {
    auto subscription = Subscription<M>::create(*domain_, topic);
    EXPECT_TRUE(subscription);
    auto message = std::make_unique<M>();
    EXPECT_TRUE(eventually([&] {
      send(head);
      subscription->drain();
      auto got = subscription->take();
      if (got) *message = got->message;
      return got.has_value();
    })) << node_->err();
    return message;
  }

  test::TestDomain domain_;
  Publisher<msgs::ModelInfo> info_ = *Publisher<msgs::ModelInfo>::create(
      *domain_, "detector/model_info", {.durability = Durability::kTransientLocal});
  Publisher<msgs::TensorArray> heads_ =
      *Publisher<msgs::TensorArray>::create(*domain_, "cam/heads");
  std::unique_ptr<Child> node_;
  std::uint64_t sent_ = 0;
};

constexpr std::array<std::uint32_t, 1> kStride{32};

TEST_F(PostprocessNodeTasks, KeypointsComeWithTheStampOfTheirStage) {
  const HeadSpec head = dfl_head(1, 1, kStride, Suppression::kNeeded,
                                 LevelMap{.role = OutputRole::kKeypoints,
                                          .encoding = OutputEncoding::kCentreOffset,
                                          .channels = 51,
                                          .point_values = 3});
  start(head, 1);
  const auto found = next<msgs::KeypointDetection2DArray>(head, "cam/keypoints");
  ASSERT_EQ(found->detections.size(), 1u);
  EXPECT_EQ(found->detections[0].keypoints.size(), 17u);
  ASSERT_EQ(found->header.stages.size(), 1u);
  EXPECT_EQ(found->header.stages[0].stage.view(), "postprocess");
  EXPECT_EQ(next<msgs::Detection2DArray>(head, "cam/detections")->detections.size(), 1u);
}

TEST_F(PostprocessNodeTasks, OrientedBoxesMasksAndClassesHaveTheirTopics) {
  const HeadSpec turned =
      dfl_head(1, 1, kStride, Suppression::kNeeded,
               LevelMap{.role = OutputRole::kAngle, .encoding = OutputEncoding::kDecoded});
  start(turned, 1);
  const auto boxes = next<msgs::OrientedDetection2DArray>(turned, "cam/oriented_boxes");
  ASSERT_EQ(boxes->detections.size(), 1u);
  EXPECT_FLOAT_EQ(boxes->detections[0].bbox.theta, 0.5f);

  // Another model takes its place, and another topic.
  HeadSpec masks = dfl_head(1, 1, kStride, Suppression::kNeeded,
                            LevelMap{.role = OutputRole::kMaskCoefficients, .channels = 4});
  masks.maps.push_back(prototypes(4, 4));
  start(masks, 1);
  const auto found = next<msgs::InstanceMask2DArray>(masks, "cam/masks");
  ASSERT_EQ(found->instances.size(), 1u);
  EXPECT_GT(found->instances[0].run_count, 1u);

  start(classify_head(3), 3);
  const auto classes = next<msgs::Classification>(classify_head(3), "cam/classification");
  ASSERT_EQ(classes->results.size(), 3u);
  EXPECT_EQ(classes->results[0].class_name.view(), "class0");
}

TEST_F(PostprocessNodeTasks, SemanticMapsHaveTheirTopic) {
  const HeadSpec head = semantic_head(2, 8);
  start(head, 2);
  const auto map = next<msgs::SemanticMap>(head, "cam/semantic_map");
  EXPECT_EQ(map->width, 64u);
  ASSERT_EQ(map->classes.size(), 1u);  // equal numbers
  EXPECT_EQ(map->classes[0].class_name.view(), "class0");
  EXPECT_EQ(map->classes[0].pixels, 64u * 64);
  EXPECT_EQ(map->runs.size(), 64u);
}

TEST_F(PostprocessNodeTasks, DepthHasItsTopic) {
  start(depth_head(8), 0);
  const auto map = next<msgs::DepthMap>(depth_head(8), "cam/depth");
  EXPECT_EQ(map->depth.size(), 64u);
  EXPECT_EQ(map->depth[0], 0.5f);
}

}  // namespace
}  // namespace fovea
