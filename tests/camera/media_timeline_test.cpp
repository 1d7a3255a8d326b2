// Time stamps of files, sensible and not.
#include "nodes/camera/media_timeline.hpp"

#include <initializer_list>

#include <gmock/gmock.h>

namespace fovea::frames {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

std::vector<Nanoseconds> played(MediaTimeline& timeline,
                                std::initializer_list<std::optional<Nanoseconds>> stamps) {
  std::vector<Nanoseconds> due;
  for (const auto& stamp : stamps) due.push_back(timeline.next(stamp));
  return due;
}

TEST(MediaTimeline, VariableRatesAreKeptWhereverTheCountBegins) {
  MediaTimeline timeline(100ms);
  EXPECT_EQ(played(timeline, {7s, 7100ms, 7150ms, 9s}),
            (std::vector<Nanoseconds>{0ms, 100ms, 150ms, 2s}));
  EXPECT_EQ(timeline.trouble(), "");
}

TEST(MediaTimeline, AMissingStampIsOnePeriodLater) {
  MediaTimeline timeline(100ms);
  EXPECT_EQ(played(timeline, {0ms, std::nullopt, 200ms, std::nullopt}),
            (std::vector<Nanoseconds>{0ms, 100ms, 200ms, 300ms}));
  EXPECT_THAT(timeline.trouble(), HasSubstr("without time stamps"));
}

TEST(MediaTimeline, StampsThatFallALittleDoNotHoldTheVideoUp) {
  MediaTimeline timeline(100ms);
  EXPECT_EQ(played(timeline, {0ms, 200ms, 100ms, 200ms, 300ms}),
            (std::vector<Nanoseconds>{0ms, 200ms, 200ms + 1ns, 200ms + 2ns, 300ms}));
  EXPECT_THAT(timeline.trouble(), HasSubstr("out of order"));
}

TEST(MediaTimeline, JumpsInEitherDirectionAreLeftOut) {
  MediaTimeline timeline(100ms);
  EXPECT_EQ(played(timeline, {0ms, 100ms, 26h, 26h + 100ms, 5s, 5100ms}),
            (std::vector<Nanoseconds>{0ms, 100ms, 200ms, 300ms, 400ms, 500ms}));
  EXPECT_THAT(timeline.trouble(), HasSubstr("jump ahead by 93599.9 s"));
}

TEST(MediaTimeline, ExtremeStampsDoNotOverflow) {
  MediaTimeline timeline(100ms);
  const auto due = played(timeline, {Nanoseconds::min(), 0ms, Nanoseconds::max(), 0ms});
  for (std::size_t i = 1; i < due.size(); ++i) {
    EXPECT_GT(due[i], due[i - 1]);
    EXPECT_LE(due[i] - due[i - 1], MediaTimeline::kMaxGap);
  }
}

TEST(MediaTimeline, ALoopFollowsOnePeriodBehindTheLastFrame) {
  MediaTimeline timeline(100ms);
  played(timeline, {500ms, 600ms});
  timeline.start_pass();
  EXPECT_EQ(played(timeline, {500ms, 650ms}), (std::vector<Nanoseconds>{200ms, 350ms}));
  EXPECT_EQ(timeline.trouble(), "");
}

}  // namespace
}  // namespace fovea::frames
