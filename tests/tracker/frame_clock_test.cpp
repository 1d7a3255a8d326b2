// What passed between frames, by stamps and numbers made by hand.
#include "nodes/tracker/frame_clock.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace fovea {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

class FrameClockTest : public testing::Test {
 protected:
  FrameStep advance(std::uint64_t seq, nanoseconds stamp) {
    msgs::Header header;
    header.seq = seq;
    header.stamp_monotonic = stamp.count();
    return clock_.advance(header);
  }
  FrameClock clock_;
};

TEST_F(FrameClockTest, GoesByTheInstantsOfCapture) {
  advance(1, seconds(10));
  FrameStep step = advance(2, seconds(10) + milliseconds(40));
  EXPECT_EQ(step.passed, milliseconds(40));
  EXPECT_EQ(step.frames, 1u);
  step = advance(5, seconds(10) + milliseconds(160));
  EXPECT_EQ(step.passed, milliseconds(120)) << "two were dropped";
  EXPECT_EQ(step.frames, 3u);
}

TEST_F(FrameClockTest, WithoutStampsItGoesByNumbers) {
  advance(1, {});
  EXPECT_EQ(advance(2, {}).passed, FrameClock::kNominalInterval);
  EXPECT_EQ(advance(5, {}).passed, FrameClock::kNominalInterval * 3);
}

TEST_F(FrameClockTest, BackwardsIsOneFrame) {
  advance(100, seconds(10));
  FrameStep step = advance(50, seconds(5));
  EXPECT_EQ(step.frames, 1u);
  EXPECT_EQ(step.passed, FrameClock::kNominalInterval);
  step = advance(51, seconds(5) + milliseconds(20));
  EXPECT_EQ(step.passed, milliseconds(20)) << "and counts from there";
  EXPECT_EQ(advance(51, seconds(5) + milliseconds(20)).passed, FrameClock::kNominalInterval)
      << "the same frame again";
}

TEST_F(FrameClockTest, AnyHeaderIsSafe) {
  const nanoseconds last(std::numeric_limits<std::int64_t>::max());
  const nanoseconds first(std::numeric_limits<std::int64_t>::min());
  advance(0, first);
  for (const auto seq : {std::numeric_limits<std::uint64_t>::max(), std::uint64_t{0}}) {
    for (const nanoseconds stamp : {first, last, nanoseconds(1), last, first}) {
      const FrameStep step = advance(seq, stamp);
      EXPECT_GT(step.passed.count(), 0);
      EXPECT_LE(step.passed, FrameClock::kLongestStep);
      EXPECT_GE(step.frames, 1u);
    }
  }
}

TEST_F(FrameClockTest, ASlowCamerasTracksOutliveOneOfItsFrames) {
  advance(1, seconds(10));
  advance(2, seconds(15));
  advance(3, seconds(20));
  EXPECT_GT(clock_.limit(seconds(1)), seconds(5));
  EXPECT_LT(clock_.limit(seconds(1)), seconds(10));
  EXPECT_EQ(clock_.limit(seconds(60)), seconds(60));
}

TEST_F(FrameClockTest, AnOutageIsNoPace) {
  advance(1, seconds(10));
  advance(2, seconds(10) + milliseconds(40));
  advance(3, seconds(70));
  EXPECT_EQ(clock_.limit(seconds(1)), seconds(1));
}

}  // namespace
}  // namespace fovea
