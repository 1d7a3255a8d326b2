// The synthetic scene is ground truth for other tests, so its truth is checked against its pixels
// here.
#include "nodes/camera/synthetic_source.hpp"

#include <cstdlib>
#include <set>

#include <gtest/gtest.h>

#include "tests/camera/camera_testing.hpp"

namespace fovea::frames {
namespace {

Canvas render(const SyntheticScene& scene, std::uint64_t index, std::uint32_t width = 320,
              std::uint32_t height = 240) {
  Canvas canvas({.width = width, .height = height});
  scene.render(index, canvas.view());
  return canvas;
}

bool is_grey(const std::array<int, 3>& bgr) { return bgr[0] == bgr[1] && bgr[1] == bgr[2]; }

TEST(SyntheticScene, PixelsDependOnlyOnSeedIndexAndSize) {
  const SyntheticScene scene(7, 5, 320, 240);
  const SyntheticScene again(7, 5, 320, 240);
  const Canvas first = render(scene, 123);
  render(again, 4);
  EXPECT_TRUE(first == render(again, 123));
  EXPECT_TRUE(first == render(scene, 123));
  EXPECT_FALSE(first == render(scene, 124));
  EXPECT_FALSE(first == render(SyntheticScene(8, 5, 320, 240), 123));
  EXPECT_TRUE(first.padding_untouched());
}

// One object at a time, so that none covers another: its coloured pixels span exactly the true box.
TEST(SyntheticScene, TrueBoxIsTheBoxOfTheColouredPixels) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const SyntheticScene scene(seed, 1, 320, 240);
    const auto object = scene.truth(50 * seed).at(0);
    const Canvas canvas = render(scene, 50 * seed);
    std::uint32_t left = 320, top = 240, right = 0, bottom = 0;
    for (std::uint32_t y = 0; y < 240; ++y) {
      for (std::uint32_t x = 0; x < 320; ++x) {
        if (is_grey(canvas.at(x, y))) continue;
        left = std::min(left, x);
        top = std::min(top, y);
        right = std::max(right, x + 1);
        bottom = std::max(bottom, y + 1);
      }
    }
    EXPECT_EQ(left, object.left);
    EXPECT_EQ(top, object.top);
    EXPECT_EQ(right - left, object.width);
    EXPECT_EQ(bottom - top, object.height);
  }
}

// Paint by truth in the test's own way and compare every pixel's colour class.
TEST(SyntheticScene, LaterObjectsCoverEarlierOnesAndEllipsesAreRound) {
  const SyntheticScene scene(3, 12, 320, 240);
  const Canvas canvas = render(scene, 77);
  const auto objects = scene.truth(77);
  ASSERT_EQ(objects.size(), 12u);
  int differing = 0;
  for (std::uint32_t y = 0; y < 240; ++y) {
    for (std::uint32_t x = 0; x < 320; ++x) {
      const SyntheticObject* top = nullptr;
      for (const auto& object : objects) {
        const double rx = object.width / 2.0, ry = object.height / 2.0;
        const double dx = (x + 0.5 - object.left - rx) / rx, dy = (y + 0.5 - object.top - ry) / ry;
        const bool inside = object.shape == Shape::kRectangle ? std::abs(dx) < 1 && std::abs(dy) < 1
                                                              : dx * dx + dy * dy < 1;
        if (inside) top = &object;
      }
      const auto bgr = canvas.at(x, y);
      const bool agrees = top == nullptr
                              ? is_grey(bgr)
                              : bgr == std::array<int, 3>{top->bgr[0], top->bgr[1], top->bgr[2]};
      differing += agrees ? 0 : 1;
    }
  }
  EXPECT_LT(differing, 12 * 150);  // only along the rims of ellipses
}

TEST(SyntheticScene, ObjectsMoveAndStayInside) {
  const SyntheticScene scene(5, 16, 333, 111);
  std::set<std::pair<std::uint32_t, std::uint32_t>> places;
  for (std::uint64_t i : {0ull, 1ull, 10ull, 1000ull, 1'000'000ull, 1'000'000'000'000ull}) {
    for (const auto& object : scene.truth(i)) {
      EXPECT_LE(object.left + object.width, 333u);
      EXPECT_LE(object.top + object.height, 111u);
    }
    places.emplace(scene.truth(i)[0].left, scene.truth(i)[0].top);
  }
  EXPECT_GE(places.size(), 4u);
}

TEST(SyntheticScene, TheSmallestSizeWorks) {
  const SyntheticScene scene(1, 64, 16, 16);
  EXPECT_TRUE(render(scene, 9, 16, 16).padding_untouched());
}

TEST(SyntheticSource, GivesNFramesInOrderThenEnds) {
  const auto source = open_source("synthetic://?width=160&height=120&frames=5&rate=max");
  ASSERT_TRUE(source);
  EXPECT_EQ(source->info().width, 160u);
  EXPECT_EQ(source->info().frame_count, 5u);
  EXPECT_FALSE(source->info().is_live);
  for (std::uint64_t i = 0; i < 5; ++i) {
    const auto grab = source->grab(1s);
    ASSERT_EQ(grab->status, GrabStatus::kFrame);
    EXPECT_EQ(grab->frame.index, i);
    Canvas canvas(grab->frame);
    ASSERT_TRUE(source->retrieve(canvas.view()));
  }
  EXPECT_EQ(source->grab(1s)->status, GrabStatus::kEndOfStream);
  EXPECT_EQ(source->grab(1s)->status, GrabStatus::kEndOfStream);
  EXPECT_EQ(source->counters().bytes_copied, 0u);
}

TEST(SyntheticSource, PixelsMatchTheTruthOfTheFrameIndex) {
  const auto source = open_source("synthetic://?width=320&height=240&seed=11&start=2&rate=max");
  ASSERT_TRUE(source);
  const auto grab = source->grab(1s);
  EXPECT_EQ(grab->frame.index, 60u);
  Canvas canvas(grab->frame);
  ASSERT_TRUE(source->retrieve(canvas.view()));
  EXPECT_TRUE(canvas == render(SyntheticScene(11, 5, 320, 240), 60));
}

TEST(SyntheticSource, LoopsAndPacesAtItsNativeRate) {
  FakeClock clock;
  const auto source =
      open_source("synthetic://?width=64&height=64&fps=50&frames=3&loop=true", {.clock = &clock});
  ASSERT_TRUE(source);
  const Nanoseconds start = clock.now;
  for (std::uint64_t i = 0; i < 7; ++i) {
    const auto grab = source->grab(1s);
    ASSERT_EQ(grab->status, GrabStatus::kFrame);
    EXPECT_EQ(grab->frame.index, i % 3);
    EXPECT_EQ(grab->frame.stamp_monotonic, (start + i * 20ms).count());
  }
}

TEST(SyntheticSource, AFixedRateReplacesTheNativeOne) {
  FakeClock clock;
  const auto source =
      open_source("synthetic://?width=64&height=64&fps=50&rate=4", {.clock = &clock});
  ASSERT_TRUE(source);
  const Nanoseconds start = clock.now;
  for (int i = 0; i < 5; ++i) ASSERT_EQ(source->grab(1s)->status, GrabStatus::kFrame);
  EXPECT_EQ(clock.now, start + 1s);
}

TEST(SyntheticSource, StopEndsTheWaitForTheNextFrame) {
  const auto source = open_source("synthetic://?width=64&height=64&rate=0.001");
  ASSERT_TRUE(source);
  ASSERT_EQ(source->grab(1s)->status, GrabStatus::kFrame);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(source->grab(Nanoseconds::max(), stop.get_token())->status, GrabStatus::kStopped);
}

}  // namespace
}  // namespace fovea::frames
