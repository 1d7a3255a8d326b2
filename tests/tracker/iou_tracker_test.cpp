// Association of detections over frames, on boxes made by hand.
#include "nodes/tracker/iou_tracker.hpp"

#include <chrono>
#include <limits>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "msgs/cdr.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using std::chrono_literals::operator""ms;
using testing::ElementsAre;
using testing::IsEmpty;

struct Box {
  float x, y;
  float size = 10;
  std::uint32_t class_id = 0;
};

class IouTrackerTest : public testing::Test {
 protected:
  // The ids of the frame's tracks, in the order of `boxes`.
  std::vector<std::uint64_t> frame(const std::vector<Box>& boxes, std::uint64_t step = 1) {
    detections_.detections.clear();
    for (const Box& box : boxes) {
      detections_.detections.push_back(
          {{box.x, box.y, box.size, box.size}, {box.class_id, 0.9f}, std::string_view("gate")});
    }
    detections_.header.seq = seq_ += step;
    tracker_.update(detections_, tracks_);
    std::vector<std::uint64_t> ids;
    for (const msgs::Track2D& track : tracks_.tracks) ids.push_back(track.id);
    return ids;
  }

  IouTracker tracker_{{.min_hits = 1}};
  msgs::Detection2DArray detections_;
  msgs::Track2DArray tracks_;
  std::uint64_t seq_ = 0;
};

TEST_F(IouTrackerTest, AnObjectKeepsItsIdWhileItMoves) {
  EXPECT_THAT(frame({{0, 0}, {50, 50}}), ElementsAre(1, 2));
  EXPECT_THAT(frame({{52, 51}, {3, 0}}), ElementsAre(2, 1)) << "in whatever order they come";
  EXPECT_EQ(tracks_.tracks[0].age, 1u);
  EXPECT_EQ(tracks_.tracks[0].hits, 2u);
  EXPECT_FLOAT_EQ(tracks_.tracks[0].bbox.center_x, 52);
  EXPECT_EQ(tracks_.tracks[0].class_name.view(), "gate");
}

TEST_F(IouTrackerTest, ThePairThatOverlapsMostBelongsTogether) {
  EXPECT_THAT(frame({{0, 0}, {6, 0}}), ElementsAre(1, 2));
  // The first detection overlaps both tracks, but 2 more than 1.
  EXPECT_THAT(frame({{5, 0}, {1, 0}}), ElementsAre(2, 1));
}

TEST_F(IouTrackerTest, AnotherClassIsAnotherObject) {
  EXPECT_THAT(frame({{0, 0, 10, 1}}), ElementsAre(1));
  EXPECT_THAT(frame({{0, 0, 10, 2}}), ElementsAre(2));
}

TEST_F(IouTrackerTest, ATrackOutlivesMissedFramesAndNoMore) {
  tracker_ = IouTracker({.track_buffer = 100ms, .min_hits = 1});
  EXPECT_THAT(frame({{0, 0}}), ElementsAre(1));
  EXPECT_THAT(frame({}), IsEmpty());
  EXPECT_THAT(frame({}), IsEmpty());
  EXPECT_THAT(frame({{0, 0}}), ElementsAre(1));
  EXPECT_EQ(tracks_.tracks[0].age, 3u);
  EXPECT_EQ(tracks_.tracks[0].hits, 2u);
  for (int i = 0; i < 3; ++i) frame({});
  EXPECT_THAT(frame({{0, 0}}), ElementsAre(2));
}

TEST_F(IouTrackerTest, FramesThatWereDroppedOnTheWayAreMissedToo) {
  tracker_ = IouTracker({.track_buffer = 100ms, .min_hits = 1});
  EXPECT_THAT(frame({{0, 0}}), ElementsAre(1));
  EXPECT_THAT(frame({{0, 0}}, 3), ElementsAre(1)) << "two are missing";
  EXPECT_THAT(frame({{0, 0}}, 4), ElementsAre(2)) << "three are missing";
}

TEST_F(IouTrackerTest, ASourceThatCountsFromOneAgainEndsNoTrack) {
  seq_ = 1000;
  EXPECT_THAT(frame({{0, 0}}), ElementsAre(1));
  seq_ = 0;
  EXPECT_THAT(frame({{0, 0}}), ElementsAre(1));
  EXPECT_EQ(tracks_.tracks[0].age, 1u);
}

TEST_F(IouTrackerTest, AnObjectIsShownOnceItWasSeenOftenEnough) {
  tracker_ = IouTracker({.min_hits = 3});
  EXPECT_THAT(frame({{0, 0}}), IsEmpty());
  EXPECT_THAT(frame({{0, 0}}), IsEmpty());
  EXPECT_THAT(frame({{0, 0}}), ElementsAre(1));
}

TEST_F(IouTrackerTest, NumbersGoOnFromAPredecessors) {
  tracker_ = IouTracker({.min_hits = 1}, 41);
  EXPECT_THAT(frame({{0, 0}}), ElementsAre(42));
  EXPECT_EQ(tracker_.last_id(), 42u);
}

TEST_F(IouTrackerTest, FullFramesOfNewObjectsStayBoundedAndCostNoAllocation) {
  std::vector<Box> boxes(msgs::Detection2DArray::kMaxDetections);
  std::set<std::uint64_t> seen;
  for (int round = 0; round < 8; ++round) {
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      boxes[i] = {static_cast<float>(i) * 100, static_cast<float>(round) * 100};
    }
    const auto ids = frame(boxes);
    EXPECT_EQ(ids.size(), boxes.size());
    seen.insert(ids.begin(), ids.end());
    EXPECT_LE(tracker_.open_tracks(), IouTracker::kMaxTracks);
  }
  EXPECT_EQ(seen.size(), 8 * boxes.size()) << "no number is given twice";
  const test::AllocationGuard guard;
  detections_.header.seq = ++seq_;
  tracker_.update(detections_, tracks_);
  EXPECT_EQ(guard.count(), 0u);
}

TEST_F(IouTrackerTest, TracksAreRecordedAndReadBack) {
  frame({{0, 0}, {50, 50}});
  tracks_.header.seq = 7;
  std::vector<std::byte> bytes;
  msgs::to_cdr(tracks_, {}, bytes);
  msgs::Track2DArray got;
  std::span<const std::byte> payload;
  ASSERT_TRUE(msgs::from_cdr<msgs::Track2DArray>(bytes, got, payload));
  EXPECT_EQ(got.header.seq, 7u);
  ASSERT_EQ(got.tracks.size(), 2u);
  EXPECT_EQ(got.tracks[1], tracks_.tracks[1]);
}

TEST_F(IouTrackerTest, BoxesThatAreNoNumbersAreOtherObjectsEveryTime) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(frame({{nan, 0}, {0, 0}}), ElementsAre(1, 2));
  EXPECT_THAT(frame({{nan, 0}, {0, 0}}), ElementsAre(3, 2));
}

}  // namespace
}  // namespace fovea
