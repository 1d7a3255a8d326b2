// What every stage of the pipeline gets from StageSet: frames through Stage::process(), and around
// them slots, stamps, ledger, faults and status. The test plays the stage before and the one after.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nodes/runtime/stages/stage_set.hpp"
#include "tests/runtime/topics_fixture.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea::test {
namespace {

using msgs::DiagnosticLevel;
using testing::HasSubstr;

constexpr std::size_t kOutBytes = 64;

// Copies one byte; refuses pictures that have no height and warns of those that have no width.
class CopyStage final : public Stage<Image, Image> {
 public:
  std::size_t payload_bytes(const Image& /*image*/) const override { return kOutBytes; }
  Result<> process(const StageIn<Image>& in, StageOut<Image>& out) override {
    if (in.message.height == 0) return fail(ErrorCode::kInvalidArgument, "it has no height");
    if (in.message.width == 0) out.warning = "it has no width";
    out.message.height = in.message.height;
    out.payload[0] = in.payload[0];
    return {};
  }
};

class StageSetTest : public Topics {
 protected:
  StageSetTest() : page_(std::move(*MetricsPage::create(*domain_, "stage", "stage"))) { make({}); }

  void make(StageSpec spec, StageOptions options = {}) {
    set_.reset();
    spec.input = "image";
    spec.output = "copy";
    set_ = std::make_unique<StageSet<Image, Image>>(
        StageHost{*domain_, *page_, executor_,
                  [this](DiagnosticLevel level, std::string_view text) {
                    level_ = level;
                    status_ = text;
                  }},
        spec, options);
  }
  void add(const std::string& camera = "cam0") {
    const auto added = set_->add_camera(camera, std::make_unique<CopyStage>());
    ASSERT_TRUE(added) << added.error().message;
  }
  // A set with a camera whose topics are joined.
  void start() {
    add();
    set_->activate();
    ASSERT_TRUE(joined(images_));
    ASSERT_TRUE(eventually([&] { return send(1) && turn() && take(); }));
  }
  // Lets the executor run until it has nothing to do.
  bool turn() {
    const auto timer = executor_.add_timer(std::chrono::milliseconds(1), [&] { executor_.stop(); });
    executor_.run();
    executor_.remove(timer);
    return true;
  }
  bool send(std::uint32_t height, std::uint32_t width = 1) {
    auto slot = images_.loan(kBytes);
    if (!slot) return false;
    slot->data()[0] = std::byte{7};
    Image image;
    image.header.seq = ++sent_;
    image.header.stages.push_back({"camera", 1, 1});
    image.height = height;
    image.width = width;
    images_.publish(image, std::move(*slot), kBytes);
    return true;
  }
  std::optional<Received<Image>> take() {
    copies_.drain();
    auto got = copies_.take();
    for (auto newer = copies_.take(); newer; newer = copies_.take()) got = std::move(newer);
    return got;
  }
  std::uint64_t count(const char* name, const char* label = "", const char* camera = "cam0") {
    return page_->counter(name, camera, label);
  }

  Executor executor_;
  std::unique_ptr<MetricsPage> page_;
  DiagnosticLevel level_ = DiagnosticLevel::kOk;
  std::string status_;
  Publisher<Image> images_ = *Publisher<Image>::create(*domain_, "cam0/image", {}, slots(4));
  Subscription<Image> copies_ = *Subscription<Image>::create(*domain_, "cam0/copy", depth(4));
  std::unique_ptr<StageSet<Image, Image>> set_;
  std::uint64_t sent_ = 0;
};

TEST_F(StageSetTest, AFrameKeepsItsHeaderAndGetsStampsAndLatencies) {
  make({.latencies = {{"copy_us", StageLatency::Since::kCaptured}, {"only_here_us"}}});
  start();
  ASSERT_TRUE(send(3));
  std::optional<Received<Image>> got;
  ASSERT_TRUE(eventually([&] { return turn() && (got = take()); }));
  EXPECT_EQ(got->message.header.seq, sent_);
  EXPECT_EQ(got->message.height, 3u);
  EXPECT_EQ(got->buffer.data()[0], std::byte{7});
  const msgs::StageStamps& stages = got->message.header.stages;
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[0], (msgs::StageStamp{"camera", 1, 1}));
  EXPECT_EQ(stages[1].stage.view(), page_->type());
  EXPECT_GT(stages[1].started, 1);
  EXPECT_GE(stages[1].ended, stages[1].started);
  EXPECT_EQ(page_->histogram("only_here_us", "cam0").count(), count("frames_out"));
  EXPECT_EQ(page_->histogram("copy_us", "cam0").count(), count("frames_out"));
  EXPECT_EQ(count("bytes_written"), kOutBytes * count("frames_out"));
  EXPECT_EQ(count("frames_in"), count("frames_out"));
}

TEST_F(StageSetTest, AFrameOfManyStagesKeepsTheStampsThatItHas) {
  make({.latencies = {{"copy_us"}}});
  start();
  Image image;
  for (std::size_t i = 0; i < msgs::StageStamps::kCapacity; ++i)
    image.header.stages.push_back({"earlier", 1, 1});
  image.height = 5;
  image.width = 1;
  auto slot = images_.loan(kBytes);
  ASSERT_TRUE(slot);
  images_.publish(image, std::move(*slot), kBytes);
  std::optional<Received<Image>> got;
  ASSERT_TRUE(eventually([&] { return turn() && (got = take()) && got->message.height == 5; }));
  EXPECT_EQ(got->message.header.stages, image.header.stages);
  EXPECT_EQ(page_->histogram("copy_us", "cam0").count(), count("frames_out"));
}

TEST_F(StageSetTest, AFaultThatReturnsIsSaidAgain) {
  start();
  testing::internal::CaptureStderr();
  for (int i = 0; i < 2; ++i) {
    for (std::uint64_t bad = 1; bad <= 3; ++bad) {
      ASSERT_TRUE(send(0));
      ASSERT_TRUE(eventually([&] {
        return turn() && count("frames_dropped", "error") == std::uint64_t(3 * i) + bad;
      }));
    }
    EXPECT_EQ(level_, DiagnosticLevel::kError);
    EXPECT_EQ(status_, "cam0/image: frames are refused: it has no height");
    ASSERT_TRUE(send(1));
    ASSERT_TRUE(eventually([&] { return turn() && take(); }));
    EXPECT_EQ(level_, DiagnosticLevel::kOk);
    EXPECT_EQ(status_, "");
  }
  const std::string log = testing::internal::GetCapturedStderr();
  std::size_t said = 0;
  for (auto at = log.find("no height"); at != std::string::npos; at = log.find("no height", at + 1))
    ++said;
  EXPECT_EQ(said, 2u) << log;
  EXPECT_THAT(log, HasSubstr("is good again"));
}

TEST_F(StageSetTest, AWarningIsShownAndTheFrameStillLeaves) {
  start();
  ASSERT_TRUE(send(1, 0));
  ASSERT_TRUE(eventually([&] { return turn() && take(); }));
  EXPECT_EQ(level_, DiagnosticLevel::kWarn);
  EXPECT_EQ(status_, "cam0/image: it has no width");
  EXPECT_EQ(count("frames_dropped", "error"), 0u);
  set_->set_status(DiagnosticLevel::kError, "its own");
  EXPECT_EQ(status_, "its own") << "what is worse is shown";
}

TEST_F(StageSetTest, WhatHasArrivedLeavesAtDeactivateAndWhenItsCameraIsRemoved) {
  start();
  ASSERT_TRUE(send(1));
  set_->deactivate();
  ASSERT_TRUE(eventually([&] {
    const auto got = take();
    return got && got->message.header.seq == sent_;
  }));
  set_->activate();
  ASSERT_TRUE(send(1));
  EXPECT_TRUE(set_->remove_camera("cam0"));
  EXPECT_FALSE(set_->remove_camera("cam0"));
  ASSERT_TRUE(eventually([&] {
    const auto got = take();
    return got && got->message.header.seq == sent_;
  }));
  EXPECT_TRUE(eventually([&] { return images_.subscription_count() == 0; }));
}

TEST_F(StageSetTest, ACameraThatIsAddedWhileItRunsFlowsFromThenOn) {
  start();
  EXPECT_FALSE(set_->add_camera("cam0", std::make_unique<CopyStage>()));
  EXPECT_FALSE(set_->add_camera("a/b", std::make_unique<CopyStage>()));
  add("cam1");
  auto images = *Publisher<Image>::create(*domain_, "cam1/image");
  auto copies = *Subscription<Image>::create(*domain_, "cam1/copy");
  ASSERT_TRUE(joined(images));
  ASSERT_TRUE(eventually([&] {
    auto slot = images.loan(kBytes);
    if (!slot) return false;
    Image image;
    image.height = image.width = 1;
    images.publish(image, std::move(*slot), kBytes);
    turn();
    copies.drain();
    return copies.take().has_value();
  }));
  EXPECT_TRUE(set_->remove_camera("cam1"));
  ASSERT_TRUE(send(1));
  EXPECT_TRUE(eventually([&] { return turn() && take(); })) << "the other camera goes on";
}

TEST_F(StageSetTest, AStageThatReadsWhenItIsReadyTakesNoFrameBefore) {
  make({.reads_when_ready = true});
  add();
  set_->activate();
  EXPECT_EQ(images_.subscription_count(), 0);
  ASSERT_TRUE(set_->set_ready());
  EXPECT_TRUE(joined(images_));
  ASSERT_TRUE(eventually([&] { return send(1) && turn() && take(); }));
  set_->deactivate();
  EXPECT_TRUE(eventually([&] { return images_.subscription_count() == 0; }));
}

TEST_F(StageSetTest, AFrameWithoutASlotIsCountedAndOthersFollow) {
  make({}, {.slots = 2});
  start();
  std::vector<Received<Image>> held;
  ASSERT_TRUE(eventually([&] {
    if (send(1) && turn()) {
      if (auto got = take()) held.push_back(std::move(*got));
    }
    return count("frames_dropped", "pool_exhausted") > 0;
  }));
  held.clear();
  ASSERT_TRUE(eventually([&] { return send(1) && turn() && take(); }));
  EXPECT_EQ(status_, "");
}

TEST_F(StageSetTest, AFrameCostsNoAllocation) {
  start();
  const std::uint64_t before = count("frames_out");
  ASSERT_TRUE(send(1));
  const AllocationGuard guard;
  set_->deactivate();
  EXPECT_EQ(guard.count(), 0u);
  EXPECT_EQ(count("frames_out"), before + 1);
}

TEST(FaultLog, FaultsThatComeAndGoWithEveryFrameDoNotFillTheLog) {
  FaultLog faults("cam0/image");
  testing::internal::CaptureStderr();
  for (std::uint64_t seq = 1; seq <= 2000; seq += 2) {
    EXPECT_TRUE(faults.begin(ErrorCode::kInvalidArgument, "bad", seq));
    EXPECT_TRUE(faults.clear(seq + 1));
  }
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_LT(std::count(log.begin(), log.end(), '\n'), 200) << log;
  EXPECT_THAT(log, HasSubstr("cam0/image: from frame 1 on: bad"));
}

TEST(FaultLog, OfBrokenContentOnlyTheBeginningCounts) {
  FaultLog faults("cam0/heads");
  EXPECT_TRUE(faults.begin(ErrorCode::kCorrupt, "3 of 8", 1));
  EXPECT_FALSE(faults.begin(ErrorCode::kCorrupt, "4 of 8", 2));
  EXPECT_EQ(faults.status(), "cam0/heads: 3 of 8");
  EXPECT_TRUE(faults.begin(ErrorCode::kInvalidArgument, "too small", 3));
  EXPECT_TRUE(faults.begin(ErrorCode::kInvalidArgument, "too large", 4));
  EXPECT_EQ(faults.level(), DiagnosticLevel::kError);
  EXPECT_TRUE(faults.clear(5));
  EXPECT_FALSE(faults.clear(6));
}

}  // namespace
}  // namespace fovea::test
