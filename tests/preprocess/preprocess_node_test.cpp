// The process around the letterbox, when a camera's pictures are not what they should be. Real
// process; the test plays the camera.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>

#include "msgs/image.hpp"
#include "msgs/tensor.hpp"
#include "nodes/runtime/metrics.hpp"
#include "nodes/runtime/pubsub.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using test::Child;
using test::eventually;

constexpr std::uint32_t kSide = 16;

class PreprocessNode : public ::testing::Test {
 protected:
  void start() {
    node_ = std::make_unique<Child>(domain_.root(), FOVEA_BIN_DIR "/fovea-preprocess",
                                    std::vector<std::string>{"--domain", "test", "--cameras", "cam",
                                                             "--width", "32", "--height", "32"});
    ASSERT_TRUE(eventually([&] { return good_frame_arrives(); })) << node_->err();
  }
  // `step` below a row's bytes makes a picture that cannot be.
  void send(std::uint32_t step) {
    auto slot = images_.loan(std::size_t{3} * kSide * kSide);
    ASSERT_TRUE(slot);
    msgs::Image image;
    image.header.seq = ++sent_;
    image.width = image.height = kSide;
    image.step = step;
    images_.publish(image, *std::move(slot), std::size_t{3} * kSide * kSide);
  }
  bool good_frame_arrives() {
    send(3 * kSide);
    tensors_.drain();
    return tensors_.take().has_value();
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
};

TEST_F(PreprocessNode, AFaultThatReturnsIsSaidAgainAndShownWhileItLasts) {
  start();
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

}  // namespace
}  // namespace fovea
