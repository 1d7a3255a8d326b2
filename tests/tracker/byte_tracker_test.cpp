// Association in stages and by motion, on boxes made by hand.
#include "nodes/tracker/byte_tracker.hpp"

#include <chrono>
#include <limits>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/tracker/trackers.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

struct Box {
  double x, y;
  double score = 0.9;
  std::uint32_t class_id = 0;
  double width = 40, height = 80;
};

// A camera of 25 frames/s.
class ByteTrackerTest : public testing::Test {
 protected:
  static constexpr std::chrono::nanoseconds kInterval = 40ms;

  void restart(TrackerOptions options) { tracker_ = ByteTracker(options, tracker_.last_id()); }

  // The ids of the frame's tracks, in the order of `boxes`. `step`: 1, or more if frames are missing.
  std::vector<std::uint64_t> frame(const std::vector<Box>& boxes, std::uint64_t step = 1) {
    detections_.header.seq += step;
    detections_.header.stamp_monotonic += static_cast<std::int64_t>(step) * kInterval.count();
    return same_header(boxes);
  }
  std::vector<std::uint64_t> same_header(const std::vector<Box>& boxes) {
    detections_.detections.clear();
    for (const Box& box : boxes) {
      detections_.detections.push_back(
          {{static_cast<float>(box.x), static_cast<float>(box.y), static_cast<float>(box.width),
            static_cast<float>(box.height)},
           {box.class_id, static_cast<float>(box.score)},
           std::string_view("person")});
    }
    tracker_.update(detections_, tracks_);
    std::vector<std::uint64_t> ids;
    for (const msgs::Track2D& track : tracks_.tracks) ids.push_back(track.id);
    return ids;
  }
  void frames(int count, const std::vector<Box>& boxes) {
    for (int i = 0; i < count; ++i) frame(boxes);
  }

  ByteTracker tracker_{TrackerOptions{}};
  msgs::Detection2DArray detections_ = [] {
    msgs::Detection2DArray made;
    made.header.stamp_monotonic = std::chrono::nanoseconds(1s).count();
    return made;
  }();
  msgs::Track2DArray tracks_;
};

TEST_F(ByteTrackerTest, AnObjectIsShownFromItsSecondFrameOn) {
  EXPECT_THAT(frame({{100, 100}}), IsEmpty());
  EXPECT_THAT(frame({{102, 100}}), ElementsAre(1));
  EXPECT_EQ(tracks_.tracks[0].age, 1u);
  EXPECT_EQ(tracks_.tracks[0].hits, 2u);
  EXPECT_FLOAT_EQ(tracks_.tracks[0].bbox.center_x, 102) << "as detected, not as filtered";
  EXPECT_EQ(tracks_.tracks[0].class_name.view(), "person");
}

TEST_F(ByteTrackerTest, WhatIsSeenOnceIsNeverShown) {
  frames(3, {{100, 100}});
  EXPECT_THAT(frame({{100, 100}, {500, 300}}), ElementsAre(1));
  EXPECT_THAT(frame({{100, 100}}), ElementsAre(1));
  EXPECT_THAT(frame({{100, 100}, {500, 300}}), ElementsAre(1)) << "another object, seen once";
  EXPECT_EQ(tracker_.open_tracks(), 2u);
}

TEST_F(ByteTrackerTest, AFastObjectKeepsItsIdWithoutOverlappingItself) {
  // 12, 14 ... 60 px a frame, of a box of 40.
  double x = 0, speed = 10;
  for (int i = 0; i < 40; ++i) {
    speed = std::min(speed + 2, 60.0);
    x += speed;
    const auto ids = frame({{x, 100}});
    if (i > 0) {
      EXPECT_THAT(ids, ElementsAre(1)) << i;
    }
  }
}

TEST_F(ByteTrackerTest, ObjectsThatCrossKeepTheirIds) {
  for (int i = 0; i <= 40; ++i) {
    const double a = 100 + 10.0 * i, b = 500 - 10.0 * i;
    // Both orders, and where they overlap most (200 px of 40) only the front one is found.
    const bool hidden = std::abs(a - b) < 15;
    auto ids = hidden       ? frame({{a, 100}})
               : i % 2 == 0 ? frame({{a, 100}, {b, 104}})
                            : frame({{b, 104}, {a, 100}});
    if (i == 0 || hidden) continue;
    if (i % 2 != 0) std::swap(ids[0], ids[1]);
    ASSERT_THAT(ids, ElementsAre(1, 2)) << i;
  }
}

TEST_F(ByteTrackerTest, AHiddenObjectComesBackWithItsIdWhereItMustBeByThen) {
  int i = 0;
  for (; i < 20; ++i) frame({{100 + 5.0 * i, 100}});
  for (; i < 40; ++i) EXPECT_THAT(frame({}), IsEmpty());
  EXPECT_THAT(frame({{100 + 5.0 * i, 100}}), ElementsAre(1)) << "100 px on, 0.8 s later";
  EXPECT_EQ(tracks_.tracks[0].age, 40u);
}

TEST_F(ByteTrackerTest, AfterTheBufferItIsAnotherObject) {
  restart({.track_buffer = 400ms});
  frames(5, {{100, 100}});
  frames(9, {});
  EXPECT_THAT(frame({{100, 100}}), ElementsAre(1)) << "400 ms";
  frames(10, {});
  EXPECT_THAT(frame({{100, 100}}), IsEmpty()) << "440 ms";
  EXPECT_THAT(frame({{100, 100}}), ElementsAre(2));
}

TEST_F(ByteTrackerTest, TheBufferIsTimeAlsoWhereFramesAreDropped) {
  restart({.track_buffer = 400ms});
  frames(5, {{100, 100}});
  EXPECT_THAT(frame({{100, 100}}, 10), ElementsAre(1)) << "400 ms, 9 frames dropped";
  frame({{100, 100}});
  EXPECT_THAT(frame({{100, 100}}, 11), IsEmpty()) << "440 ms";
}

TEST_F(ByteTrackerTest, MotionIsInTimeAlsoWhereFramesAreDropped) {
  double x = 100;
  for (const std::uint64_t step : {1, 1, 2, 1, 3, 1, 1, 4, 2, 1, 6, 1, 8}) {
    x += 10.0 * static_cast<double>(step);
    const auto ids = frame({{x, 100}}, step);
    if (x > 110) {
      EXPECT_THAT(ids, ElementsAre(1)) << x;
    }
  }
}

TEST_F(ByteTrackerTest, LowScoresProlongATrackAndStartNone) {
  frames(3, {{100, 100}});
  for (int i = 0; i < 50; ++i) {
    EXPECT_THAT(frame({{100, 100, 0.15}, {500, 300, 0.15}}), ElementsAre(1)) << "2 s";
  }
  EXPECT_EQ(tracker_.open_tracks(), 1u);
  EXPECT_FLOAT_EQ(tracks_.tracks[0].hypothesis.score, 0.15f);
}

TEST_F(ByteTrackerTest, LowScoresBringNoHiddenObjectBack) {
  frames(3, {{100, 100}});
  frame({});
  EXPECT_THAT(frame({{100, 100, 0.15}}), IsEmpty());
  EXPECT_THAT(frame({{100, 100, 0.9}}), ElementsAre(1));
}

TEST_F(ByteTrackerTest, HighScoresComeFirst) {
  frames(3, {{100, 100}});
  EXPECT_THAT(frame({{102, 100, 0.6}, {100, 100, 0.2}}), ElementsAre(1));
  EXPECT_FLOAT_EQ(tracks_.tracks[0].hypothesis.score, 0.6f);
}

TEST_F(ByteTrackerTest, ScoresBelowTheLowThresholdDoNotCount) {
  frames(3, {{100, 100}});
  EXPECT_THAT(frame({{100, 100, 0.05}}), IsEmpty());
}

TEST_F(ByteTrackerTest, BirthsNeedTheirOwnThreshold) {
  restart({.track_high_threshold = 0.5f, .new_track_threshold = 0.7f});
  frames(3, {{100, 100, 0.6}});
  EXPECT_EQ(tracker_.open_tracks(), 0u);
  frames(2, {{100, 100, 0.8}});
  EXPECT_THAT(frame({{100, 100, 0.6}}), ElementsAre(1)) << "prolonging does not";
}

TEST_F(ByteTrackerTest, ClassesAreApartUnlessTheyNeedNotBe) {
  frames(3, {{100, 100, 0.9, 1}});
  EXPECT_THAT(frame({{100, 100, 0.9, 2}}), IsEmpty());
  restart({.class_agnostic = true});
  frames(3, {{100, 100, 0.9, 1}});
  const auto ids = frame({{100, 100, 0.9, 2}});
  ASSERT_EQ(ids.size(), 1u);
  EXPECT_EQ(tracks_.tracks[0].hypothesis.class_id, 2u);
  EXPECT_EQ(frame({{100, 100, 0.9, 1}}), ids);
}

TEST_F(ByteTrackerTest, TimeThatGoesBackEndsNoTrack) {
  frames(10, {{100, 100}});
  detections_.header.stamp_monotonic = std::chrono::nanoseconds(500ms).count();
  detections_.header.seq = 1;
  EXPECT_THAT(same_header({{100, 100}}), ElementsAre(1));
  EXPECT_THAT(same_header({{101, 100}}), ElementsAre(1)) << "the same instant again";
  EXPECT_THAT(frame({{102, 100}}), ElementsAre(1));
}

TEST_F(ByteTrackerTest, ACameraThatComesBackLateShowsNewObjects) {
  frames(10, {{100, 100}});
  detections_.header.stamp_monotonic += std::chrono::nanoseconds(60s).count();
  detections_.header.seq += 1;
  EXPECT_THAT(same_header({{100, 100}}), IsEmpty());
  EXPECT_THAT(frame({{100, 100}}), ElementsAre(2));
}

TEST_F(ByteTrackerTest, ACameraThatComesBackAtOnceShowsTheSameOnes) {
  frames(10, {{100, 100}});
  detections_.header.stamp_monotonic += std::chrono::nanoseconds(700ms).count();
  detections_.header.seq = 1;  // it counts anew
  EXPECT_THAT(same_header({{100, 100}}), ElementsAre(1));
}

TEST_F(ByteTrackerTest, ASlowCameraHasTracks) {
  const auto slow_frame = [&](const std::vector<Box>& boxes) {
    detections_.header.stamp_monotonic += std::chrono::nanoseconds(2s).count();
    ++detections_.header.seq;
    return same_header(boxes);
  };
  for (int i = 0; i < 3; ++i) slow_frame({{100, 100}});
  const auto ids = slow_frame({{100, 100}});
  EXPECT_EQ(ids.size(), 1u);
  EXPECT_EQ(slow_frame({{101, 100}}), ids);
}

TEST_F(ByteTrackerTest, BoxesThatAreNoBoxesDoNoHarm) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const std::vector<Box> harmful{
      {kNan, 100},
      {100, kInf},
      {100, 100, kNan},
      {100, 100, 0.9, 0, kNan, 80},
      {100, 100, 0.9, 0, 40, kInf},
      {100, 100, 0.9, 0, -40, 80},
      {100, 100, 0.9, 0, 0, 0},
      {3e38, 3e38, 0.9, 0, 3e38, 3e38},
      {-3e38, 100, kInf, UINT32_MAX},
  };
  frames(3, {{100, 100}});
  for (int i = 0; i < 20; ++i) {
    std::vector<Box> boxes = harmful;
    boxes.push_back({100 + 2.0 * i, 100});
    EXPECT_THAT(frame(boxes), ElementsAre(1)) << i;
  }
  EXPECT_EQ(tracker_.open_tracks(), 1u);
}

TEST_F(ByteTrackerTest, LargeAndTinyBoxesAreBoxes) {
  for (int i = 0; i < 5; ++i) {
    const auto ids = frame({{0, 0, 0.9, 0, 1e6, 1e6}, {100, 100, 0.9, 0, 1e-3, 1e-3}});
    EXPECT_LE(ids.size(), 2u);
    if (i > 0) {
      EXPECT_EQ(ids.front(), 1u);
    }
  }
}

TEST_F(ByteTrackerTest, FullFramesKeepTheirIdsAndCostNoAllocation) {
  std::vector<Box> boxes;
  for (std::size_t i = 0; i < msgs::Detection2DArray::kMaxDetections; ++i) {
    boxes.push_back({static_cast<double>(i % 20) * 60, static_cast<double>(i / 20) * 70});
  }
  frame(boxes);
  const auto first = frame(boxes);
  EXPECT_EQ(first.size(), boxes.size());
  EXPECT_EQ(std::set(first.begin(), first.end()).size(), boxes.size());
  for (int i = 0; i < 5; ++i) {
    for (Box& box : boxes) box.x += 5;
    EXPECT_EQ(frame(boxes), first);
  }
  const test::AllocationGuard guard;
  ++detections_.header.seq;
  tracker_.update(detections_, tracks_);
  EXPECT_EQ(guard.count(), 0u);
}

TEST_F(ByteTrackerTest, FullFramesOfNewObjectsStayBoundedAndNoIdIsGivenTwice) {
  std::set<std::uint64_t> seen;
  std::size_t shown = 0;
  for (int round = 0; round < 8; ++round) {
    std::vector<Box> boxes;
    for (std::size_t i = 0; i < msgs::Detection2DArray::kMaxDetections; ++i) {
      boxes.push_back({static_cast<double>(i) * 100, round * 200.0});
    }
    frame(boxes);
    const auto ids = frame(boxes);
    shown += ids.size();
    seen.insert(ids.begin(), ids.end());
    EXPECT_LE(tracker_.open_tracks(), Tracker::kMaxTracks);
  }
  EXPECT_EQ(shown, 8 * msgs::Detection2DArray::kMaxDetections);
  EXPECT_EQ(seen.size(), shown);
}

TEST_F(ByteTrackerTest, AllDetectionsInOnePlaceAreAsManyObjects) {
  const std::vector<Box> boxes(msgs::Detection2DArray::kMaxDetections, Box{100, 100});
  frame(boxes);
  const auto ids = frame(boxes);
  EXPECT_EQ(std::set(ids.begin(), ids.end()).size(), boxes.size());
}

TEST_F(ByteTrackerTest, NumbersGoOnFromAPredecessors) {
  tracker_ = ByteTracker({}, 41);
  frame({{100, 100}});
  EXPECT_THAT(frame({{100, 100}}), ElementsAre(42));
}

TEST(Trackers, AreChosenByName) {
  for (const TrackerKind& kind : tracker_kinds()) {
    const auto tracker = tracker_kind(kind.name).make({.min_hits = 1}, 7);
    msgs::Detection2DArray detections;
    detections.detections.push_back({{32, 32, 8, 8}, {0, 0.9f}, std::string_view("gate")});
    msgs::Track2DArray tracks;
    tracker->update(detections, tracks);
    ASSERT_EQ(tracks.tracks.size(), 1u) << kind.name;
    EXPECT_EQ(tracks.tracks[0].id, 8u);
    EXPECT_EQ(tracker->last_id(), 8u);
  }
  EXPECT_EQ(tracker_kinds().front().name, "bytetrack") << "the default";
}

TEST(Trackers, ALowThresholdAboveTheHighOneIsRefused) {
  EXPECT_TRUE(check(TrackerOptions{}));
  const auto refused = check({.track_high_threshold = 0.2f, .track_low_threshold = 0.3f});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("track_low_threshold is 0.3"));
}

}  // namespace
}  // namespace fovea
