// Who is inside and who crosses, on tracks made by hand in a picture of 200 x 100.
#include "nodes/tracker/region_counter.hpp"

#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Place {
  float x, y;
  std::uint64_t id = 1;
};

class RegionCounterTest : public testing::Test {
 protected:
  void frame(const std::vector<Place>& places) {
    tracks_.tracks.clear();
    for (const Place& place : places) {
      msgs::Track2D track;
      track.id = place.id;
      track.bbox = {place.x, place.y, 20, 20};  // trembles by 1 px
      tracks_.tracks.push_back(track);
    }
    counter_.update(tracks_);
  }
  // 1 for a crossing to the right, -1 for one to the left, of all frames of a way.
  std::vector<int> walk(const std::vector<Place>& way) {
    std::vector<int> crossed;
    for (const Place& place : way) {
      frame({place});
      for (const Crossing& crossing : counter_.crossings()) {
        crossed.push_back(crossing.direction == Direction::kToRight ? 1 : -1);
      }
    }
    return crossed;
  }

  // Downwards, from (100, 20) to (100, 80) px: to the right is to the picture's left.
  RegionCounter counter_{{.zones = {*parse_zone("left: 0 0 0.5 0 0.5 1 0 1")},
                          .lines = {*parse_line("gate: 0.5 0.2 0.5 0.8")}}};
  msgs::Track2DArray tracks_ = [] {
    msgs::Track2DArray made;
    made.source_width = 200;
    made.source_height = 100;
    return made;
  }();
};

TEST_F(RegionCounterTest, WhoIsInsideNow) {
  frame({{50, 50, 1}, {150, 50, 2}, {100, 10, 3}, {-5, 50, 4}});
  EXPECT_THAT(counter_.inside(0), ElementsAre(0, 2)) << "the edge is inside";
  frame({{150, 50, 1}});
  EXPECT_THAT(counter_.inside(0), IsEmpty());
}

TEST_F(RegionCounterTest, TheAnchorIsTheUsersChoice) {
  counter_ = RegionCounter({.zones = {*parse_zone("floor: 0 0.5 1 0.5 1 1 0 1")},
                            .lines = {},
                            .anchor = Anchor::kBottomCenter});
  frame({{50, 45}});
  EXPECT_THAT(counter_.inside(0), ElementsAre(0));
  counter_ = RegionCounter({.zones = {*parse_zone("floor: 0 0.5 1 0.5 1 1 0 1")}, .lines = {}});
  frame({{50, 45}});
  EXPECT_THAT(counter_.inside(0), IsEmpty());
}

TEST_F(RegionCounterTest, CrossingsAreCountedInBothDirections) {
  EXPECT_THAT(walk({{80, 50}, {95, 50}, {110, 50}, {120, 50}}), ElementsAre(-1));
  EXPECT_THAT(walk({{105, 50}, {90, 50}, {70, 50}}), ElementsAre(1));
  EXPECT_THAT(walk({{130, 40}, {70, 60}, {130, 50}}), ElementsAre(-1, 1, -1));
}

TEST_F(RegionCounterTest, AStopOnTheLineIsNoCrossingUntilItIsLeft) {
  EXPECT_THAT(walk({{80, 50}, {100, 50}, {100, 50}}), IsEmpty());
  EXPECT_THAT(walk({{120, 50}}), ElementsAre(-1));
  EXPECT_THAT(walk({{100, 50}, {120, 50}}), IsEmpty()) << "and back where it came from";
}

TEST_F(RegionCounterTest, TremblingOnTheLineIsNoCrossing) {
  EXPECT_THAT(walk({{80, 50}, {99.2f, 50}, {100.8f, 50}, {99.2f, 50}, {100.8f, 50}}), IsEmpty());
}

TEST_F(RegionCounterTest, WalkingAlongTheLineIsNoCrossing) {
  EXPECT_THAT(walk({{100, 10}, {100, 40}, {100, 60}, {100, 90}}), IsEmpty());
  EXPECT_THAT(walk({{102, 10, 2}, {102, 40, 2}, {102, 60, 2}, {102, 90, 2}}), IsEmpty());
}

TEST_F(RegionCounterTest, PassingBesideTheLinesEndsIsNoCrossing) {
  EXPECT_THAT(walk({{80, 10}, {120, 10}}), IsEmpty());
  EXPECT_THAT(walk({{120, 90}, {80, 90}}), IsEmpty());
  EXPECT_THAT(walk({{80, 20, 2}, {120, 20, 2}}), ElementsAre(-1)) << "the end belongs to it";
}

TEST_F(RegionCounterTest, AroundTheEndAndBackThroughIsOneCrossing) {
  EXPECT_THAT(walk({{80, 50}, {80, 10}, {120, 10}, {120, 50}, {80, 50}}), ElementsAre(1));
}

TEST_F(RegionCounterTest, WhoWasHiddenCrossesOnReturn) {
  walk({{80, 50}});
  for (int i = 0; i < 20; ++i) frame({});
  EXPECT_THAT(walk({{120, 50}}), ElementsAre(-1));
  EXPECT_THAT(walk({{80, 50, 2}}), IsEmpty()) << "another track was never on the other side";
}

TEST_F(RegionCounterTest, BoxesAndFramesThatAreNoneCountNowhere) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinite = std::numeric_limits<float>::infinity();
  walk({{-3e38f, -3e38f}, {3e38f, -3e38f}});  // whatever it counts
  EXPECT_THAT(walk({{80, 50, 2}, {nan, 50, 2}, {50, infinite, 2}, {80, 3e38f, 2}, {80, 50, 2}}),
              IsEmpty());
  frame({{nan, 50}});
  EXPECT_THAT(counter_.inside(0), IsEmpty());
  tracks_.source_width = 0;
  frame({{50, 50}});
  EXPECT_THAT(counter_.inside(0), IsEmpty());
}

TEST_F(RegionCounterTest, ManyTracksStayBoundedAndCostNoAllocation) {
  std::vector<Place> places(300);
  std::uint64_t id = 0;
  for (int round = 0; round < 20; ++round) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      places[i] = {80, static_cast<float>(i % 100), ++id};
    }
    frame(places);
  }
  for (Place& place : places) place.x = 120;
  frame(places);
  EXPECT_EQ(counter_.crossings().size(), 3 * 61u) << "those between 20 and 80 px";
  for (Place& place : places) place.id += 300;
  frame(places);
  const test::AllocationGuard guard;
  counter_.update(tracks_);
  EXPECT_EQ(guard.count(), 0u);
}

}  // namespace
}  // namespace fovea
