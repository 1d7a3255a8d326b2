// What is counted about tracks that nobody has the truth of.
#include "bench/tracker/recorded.hpp"

#include <gtest/gtest.h>

namespace fovea::bench {
namespace {

// Shows what it is told, frame by frame.
class Told final : public Tracker {
 public:
  explicit Told(std::vector<std::vector<std::uint64_t>> frames) : frames_(std::move(frames)) {}
  void update(const msgs::Detection2DArray&, msgs::Track2DArray& tracks) override {
    tracks.tracks.clear();
    for (const std::uint64_t id : frames_[next_++]) {
      msgs::Track2D track;
      track.id = id;
      track.bbox = {10, 10, 4, 4};
      tracks.tracks.push_back(track);
    }
  }
  std::uint64_t last_id() const override { return 0; }
  std::size_t open_tracks() const override { return 0; }

 private:
  std::vector<std::vector<std::uint64_t>> frames_;
  std::size_t next_ = 0;
};

TEST(RecordedFigures, CountGapsAndHandOvers) {
  // 1 is away for a frame; 2 begins where 1 ended; 3 is beside 2 all along.
  Told tracker({{1}, {1}, {}, {1}, {}, {2, 3}, {2, 3}});
  std::vector<msgs::Detection2DArray> frames(7);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    frames[i].header.stamp_monotonic = static_cast<std::int64_t>(i) * 40'000'000;
  }
  const RecordedFigures figures = track_recorded(tracker, frames);
  EXPECT_EQ(figures.frames, 7u);
  EXPECT_EQ(figures.shown, 7u);
  EXPECT_EQ(figures.tracks, 3u);
  EXPECT_EQ(figures.short_ones, 3u);
  EXPECT_EQ(figures.gaps, 1u);
  EXPECT_EQ(figures.hand_overs, 2u);  // both begin in its place

  Told late({{1}, {}, {2}});
  for (std::size_t i = 0; i < 3; ++i) {
    frames[i].header.stamp_monotonic = static_cast<std::int64_t>(i) * 600'000'000;
  }
  frames.resize(3);
  EXPECT_EQ(track_recorded(late, frames).hand_overs, 0u);
}

}  // namespace
}  // namespace fovea::bench
