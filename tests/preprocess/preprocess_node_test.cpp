// The process around the letterbox, when a camera's pictures are not what they should be. Real
// process; the test plays the camera.
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>

#include "msgs/image.hpp"
#include "msgs/model_info.hpp"
#include "msgs/tensor.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/process/control.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using test::Child;
using test::eventually;

constexpr std::uint32_t kSide = 16;

class PreprocessNode : public ::testing::Test {
 protected:
  void start(const std::vector<std::string>& size) {
    std::vector<std::string> arguments{"--domain", "test", "--cameras", "cam"};
    arguments.insert(arguments.end(), size.begin(), size.end());
    node_ = std::make_unique<Child>(domain_.root(), FOVEA_BIN_DIR "/fovea-preprocess", arguments);
    ASSERT_TRUE(eventually([&] { return good_frame_arrives(); })) << node_->err();
  }
  // `step` below a row's bytes makes a picture that cannot be.
  void send(std::uint32_t step) {
    auto slot = images_.loan(std::size_t{3} * width_ * kSide);
    ASSERT_TRUE(slot);
    msgs::Image image;
    image.header.seq = ++sent_;
    image.width = width_;
    image.height = kSide;
    image.step = step;
    images_.publish(image, *std::move(slot), std::size_t{3} * width_ * kSide);
  }
  bool good_frame_arrives() {
    send(3 * width_);
    tensors_.drain();
    const auto tensor = tensors_.take();
    if (tensor) placed_ = tensor->message.letterbox;
    return tensor.has_value();
  }
  std::uint64_t errors() const {
    const auto reader = MetricsReader::open(*domain_, "preprocess");
    return reader ? (*reader)->value("frames_dropped", "cam", "error") : 0;
  }
  std::string status() const {
    const auto reader = MetricsReader::open(*domain_, "preprocess");
    return reader ? (*reader)->status() : "";
  }
  std::size_t said(const std::string& what) const {
    const std::string text = node_->err();
    std::size_t count = 0;
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
    return count;
  }

  test::TestDomain domain_;
  Publisher<msgs::Image> images_ = *Publisher<msgs::Image>::create(*domain_, "cam/image");
  Subscription<msgs::Tensor> tensors_ = *Subscription<msgs::Tensor>::create(*domain_, "cam/tensor");
  std::unique_ptr<Child> node_;
  std::uint64_t sent_ = 0;
  std::uint32_t width_ = kSide;
  msgs::LetterboxTransform placed_;  // of the frame that came last
};

// A detector that says its model, and goes on saying it to whoever comes late.
class Detector {
 public:
  explicit Detector(const Domain& domain)
      : model_info_(*Publisher<msgs::ModelInfo>::create(
            domain, "detector/model_info", {.durability = Durability::kTransientLocal})),
        serves_([this](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            {
              const std::lock_guard lock(mutex_);
              model_info_.subscription_count();
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
          }
        }) {}

  void says(std::uint32_t side, ResizeMode resize) {
    msgs::ModelInfo info;
    info.network_width = info.network_height = side;
    info.input.resize = resize;
    const std::lock_guard lock(mutex_);
    model_info_.publish(info);
  }

 private:
  std::mutex mutex_;
  Publisher<msgs::ModelInfo> model_info_;
  std::jthread serves_;
};

TEST_F(PreprocessNode, AFaultThatReturnsIsSaidAgainAndShownWhileItLasts) {
  start({"--width", "32", "--height", "32"});
  for (std::size_t round = 1; round <= 2; ++round) {
    for (int i = 0; i < 3; ++i) {
      const std::uint64_t before = errors();
      ASSERT_TRUE(eventually([&] {
        send(1);
        return errors() > before;
      })) << node_->err();
    }
    EXPECT_TRUE(eventually([&] {
      return status().find("cam/image: frames are refused: image step is 1") != std::string::npos;
    })) << status();
    ASSERT_TRUE(eventually([&] { return good_frame_arrives(); })) << node_->err();
    EXPECT_TRUE(eventually([&] { return status().empty(); })) << status();
    EXPECT_TRUE(eventually([&] { return said("image step is 1") == round; })) << node_->err();
  }
  node_->send(SIGINT);
  EXPECT_EQ(node_->wait(), 0) << node_->err();
}

// The detector says its model once; it need not say it again.
TEST_F(PreprocessNode, ServesAgainAfterItWasDeactivatedAndActivated) {
  auto model_info = *Publisher<msgs::ModelInfo>::create(
      *domain_, "detector/model_info", {.durability = Durability::kTransientLocal});
  msgs::ModelInfo info;
  info.network_width = info.network_height = 32;
  model_info.publish(info);
  std::jthread serves([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      model_info.subscription_count();  // serves late subscribers
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  start({});
  for (const char* transition : {"deactivate", "activate"}) {
    const auto reply = control_request(
        *domain_, "preprocess",
        std::string(R"({"op": "change_state", "transition": ")") + transition + "\"}");
    ASSERT_TRUE(reply) << reply.error().message;
    EXPECT_NE(reply->find("\"ok\":true"), std::string::npos) << *reply;
  }
  while (tensors_.take()) {
  }
  EXPECT_TRUE(eventually([&] { return good_frame_arrives(); })) << node_->err();
  EXPECT_TRUE(eventually([&] { return status().empty(); })) << status();
}

TEST_F(PreprocessNode, ResizesAsTheModelWants) {
  Detector detector(*domain_);
  detector.says(8, ResizeMode::kCentreCrop);
  width_ = 2 * kSide;
  start({});
  EXPECT_EQ(placed_, (msgs::LetterboxTransform{.source_width = 32,
                                               .source_height = 16,
                                               .network_width = 8,
                                               .network_height = 8,
                                               .new_width = 16,
                                               .new_height = 8,
                                               .crop_left = 4}));
  detector.says(8, ResizeMode::kStretch);
  EXPECT_TRUE(eventually([&] { return good_frame_arrives() && placed_.new_width == 8; }));
  EXPECT_EQ(placed_.new_height, 8U);
  detector.says(8, ResizeMode::kLetterbox);
  EXPECT_TRUE(eventually([&] { return good_frame_arrives() && placed_.new_height == 4; }));
  EXPECT_EQ(placed_.pad_top, 2U);
}

TEST_F(PreprocessNode, TheParameterGoesBeforeTheModel) {
  Detector detector(*domain_);
  detector.says(8, ResizeMode::kCentreCrop);
  width_ = 2 * kSide;
  start({"--resize", "letterbox"});
  EXPECT_EQ(placed_.new_width, 8U);
  EXPECT_EQ(placed_.pad_top, 2U);
}

TEST_F(PreprocessNode, WithoutAModelAutoIsALetterbox) {
  width_ = 2 * kSide;
  start({"--width", "8", "--height", "8"});
  EXPECT_EQ(placed_.pad_top, 2U);
}

TEST_F(PreprocessNode, WithoutAModelTheParameterDecides) {
  width_ = 2 * kSide;
  start({"--width", "8", "--height", "8", "--resize", "centre_crop"});
  EXPECT_EQ(placed_.crop_left, 4U);
}

// model_info may come from anyone.
TEST_F(PreprocessNode, AModelWithAModeThatIsNoneIsRefusedAndTheNextOneTaken) {
  Detector detector(*domain_);
  detector.says(8, ResizeMode::kLetterbox);
  start({});
  detector.says(8, static_cast<ResizeMode>(7));
  EXPECT_TRUE(eventually([&] {
    return status() ==
           "resize is 7; it must be 0..4 (letterbox, stretch, centre_crop, letterbox_top_left, "
           "stretch_antialiased)";
  })) << status();
  EXPECT_TRUE(eventually([&] { return said("detector/model_info: resize is 7") == 1; }))
      << node_->err();
  detector.says(8, ResizeMode::kStretch);
  EXPECT_TRUE(eventually([&] { return status().empty(); })) << status();
  EXPECT_TRUE(eventually([&] { return good_frame_arrives(); })) << node_->err();
}

}  // namespace
}  // namespace fovea
