// The figures of tiny sequences, computed by hand.
#include "bench/tracker/mot_metrics.hpp"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace fovea::bench {
namespace {

Labelled at(std::uint64_t id, float x) { return {id, {x, 0, 10, 10}}; }

TEST(MotMetrics, APerfectTrackerHasOneInAll) {
  std::vector<LabelledFrame> frames;
  for (float i = 0; i < 5; ++i) {
    frames.push_back({{at(1, 10 * i), at(2, 100)}, {at(8, 100), at(7, 10 * i)}});
  }
  const MotFigures figures = mot_figures(frames);
  EXPECT_EQ(figures.mota(), 1);
  EXPECT_EQ(figures.idf1(), 1);
  EXPECT_NEAR(figures.hota(), 1, 1e-12);
  EXPECT_EQ(figures.switches, 0u);
}

TEST(MotMetrics, NothingFoundAndNothingThere) {
  EXPECT_EQ(mot_figures({}).idf1(), 0);
  const std::vector<LabelledFrame> missed{{{at(1, 0)}, {}}, {{at(1, 0)}, {}}};
  EXPECT_EQ(mot_figures(missed).mota(), 0);
  EXPECT_EQ(mot_figures(missed).hota(), 0);
  const std::vector<LabelledFrame> wrong{{{at(1, 0)}, {at(7, 50), at(8, 90)}}};
  EXPECT_EQ(mot_figures(wrong).mota(), -2) << "1 missed and 2 false of 1";
}

TEST(MotMetrics, ASwitchInTheMiddle) {
  // One object in 4 frames; its track is 7, 7, 8, 8.
  const std::vector<LabelledFrame> frames{{{at(1, 0)}, {at(7, 0)}},
                                          {{at(1, 0)}, {at(7, 0)}},
                                          {{at(1, 0)}, {at(8, 0)}},
                                          {{at(1, 0)}, {at(8, 0)}}};
  const MotFigures figures = mot_figures(frames);
  EXPECT_EQ(figures.switches, 1u);
  EXPECT_EQ(figures.mota(), 0.75);
  EXPECT_EQ(figures.idf1(), 2 * 2.0 / (4 + 4));
  // DetA is 1. Each track is with the object in 2 frames of 4 + 2 - 2.
  EXPECT_NEAR(figures.hota(), std::sqrt(1 * 0.5), 1e-12);
}

TEST(MotMetrics, ASwitchAfterAGapIsASwitchAndAReturnIsNone) {
  const std::vector<LabelledFrame> changed{
      {{at(1, 0)}, {at(7, 0)}}, {{at(1, 0)}, {}}, {{at(1, 0)}, {at(8, 0)}}};
  EXPECT_EQ(mot_figures(changed).switches, 1u);
  EXPECT_EQ(mot_figures(changed).missed, 1u);
  const std::vector<LabelledFrame> back{
      {{at(1, 0)}, {at(7, 0)}}, {{}, {}}, {{at(1, 0)}, {at(7, 0)}}};
  EXPECT_EQ(mot_figures(back).switches, 0u);
  EXPECT_EQ(mot_figures(back).mota(), 1);
}

TEST(MotMetrics, APairStaysWhileItFits) {
  // In the second frame track 8 fits better than 7, which still fits: 7 stays, 8 is false.
  const std::vector<LabelledFrame> frames{{{at(1, 0)}, {at(7, 0)}},
                                          {{at(1, 0)}, {at(7, 2), at(8, 0)}}};
  const MotFigures figures = mot_figures(frames);
  EXPECT_EQ(figures.switches, 0u);
  EXPECT_EQ(figures.false_tracks, 1u);
  EXPECT_EQ(figures.mota(), 0.5);
}

TEST(MotMetrics, TwoObjectsThatExchangeTheirTracks) {
  std::vector<LabelledFrame> frames;
  for (int i = 0; i < 4; ++i) {
    const bool exchanged = i == 3;
    frames.push_back(
        {{at(1, 0), at(2, 50)}, {at(exchanged ? 8 : 7, 0), at(exchanged ? 7 : 8, 50)}});
  }
  const MotFigures figures = mot_figures(frames);
  EXPECT_EQ(figures.switches, 2u);
  EXPECT_EQ(figures.mota(), 1 - 2.0 / 8);
  EXPECT_EQ(figures.idf1(), 6.0 / 8);
  // 6 pairs with 3 / (4 + 4 - 3), 2 with 1 / (4 + 4 - 1).
  EXPECT_NEAR(figures.hota(), std::sqrt((6 * 3.0 / 5 + 2 * 1.0 / 7) / 8), 1e-12);
}

TEST(MotMetrics, ABadFitCountsForLowThresholdsOnly) {
  // 5 px beside: an overlap of 50 / 150, so it fits for 0.05 ... 0.30, 6 of 19.
  const std::vector<LabelledFrame> frames{{{at(1, 0)}, {at(7, 5)}}};
  const MotFigures figures = mot_figures(frames);
  EXPECT_EQ(figures.mota(), -1);
  EXPECT_EQ(figures.idf1(), 0);
  EXPECT_NEAR(figures.hota(), 6.0 / 19, 1e-12);
}

TEST(MotMetrics, SequencesAreAddedBySums) {
  const std::vector<LabelledFrame> good{{{at(1, 0)}, {at(7, 0)}}};
  const std::vector<LabelledFrame> bad{{{at(1, 0)}, {}}};
  MotFigures both = mot_figures(good);
  both += mot_figures(bad);
  EXPECT_EQ(both.mota(), 0.5);
  EXPECT_EQ(both.idf1(), 2.0 / 3);
  EXPECT_NEAR(both.hota(), std::sqrt(0.5), 1e-12);
}

}  // namespace
}  // namespace fovea::bench
