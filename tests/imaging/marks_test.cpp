// Masks, turned boxes, skeletons and panels: inside what was asked for, nothing outside, whatever the
// numbers are.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "nodes/imaging/run_lengths.hpp"
#include "tests/imaging/canvas.hpp"

namespace fovea::imaging {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kHuge = 3e38f;

// Of a rectangle of pixels [x1, x2) x [y1, y2).
std::vector<std::uint32_t> runs_of(const PixelArea& area, std::uint32_t width,
                                   std::uint32_t height) {
  std::vector<std::uint32_t> runs{area.x1 * height + area.y1};
  for (std::uint32_t x = area.x1; x < area.x2; ++x) {
    runs.push_back(area.y2 - area.y1);
    runs.push_back(height - (area.y2 - area.y1));
  }
  runs.back() = (width - area.x2) * height + (height - area.y2);
  return runs;
}

Corners turned(float x, float y, float width, float height, float angle) {
  const float c = std::cos(angle);
  const float s = std::sin(angle);
  const auto corner = [&](float u, float v) {
    return Point{x + u * width / 2 * c - v * height / 2 * s,
                 y + u * width / 2 * s + v * height / 2 * c};
  };
  return {corner(-1, -1), corner(1, -1), corner(1, 1), corner(-1, 1)};
}

TEST(RunLengths, GoColumnByColumnWithTheOutsideFirst) {
  // 3 wide, 4 high:  . # .
  //                  . # .
  //                  # . .
  //                  # . .
  const std::vector<std::uint32_t> runs{2, 4, 6};
  EXPECT_TRUE(covers(runs, 3, 4));
  EXPECT_FALSE(covers(runs, 4, 4));
  EXPECT_EQ(area_of(runs), 4U);
  const auto area = bounds_of(runs, 4);
  ASSERT_TRUE(area);
  EXPECT_EQ(*area, (PixelArea{0, 0, 2, 4}));
  const Cover cover = cover_of(runs, 4, *area, 9);
  EXPECT_EQ(cover.share, (std::vector<std::uint8_t>{0, 9, 0, 9, 9, 0, 9, 0}));
}

TEST(RunLengths, BoundsAreTheSmallest) {
  const PixelArea area{2, 3, 6, 7};
  const auto runs = runs_of(area, 10, 9);
  ASSERT_TRUE(covers(runs, 10, 9));
  EXPECT_EQ(bounds_of(runs, 9), area);
  EXPECT_EQ(area_of(runs), 16U);
}

TEST(RunLengths, OfNothingAndOfAll) {
  for (const std::vector<std::uint32_t>& runs : {std::vector<std::uint32_t>{12}, {12, 0}}) {
    EXPECT_TRUE(covers(runs, 3, 4));
    EXPECT_EQ(area_of(runs), 0U);
    EXPECT_FALSE(bounds_of(runs, 4));
  }
  EXPECT_EQ(bounds_of(std::vector<std::uint32_t>{0, 12}, 4), (PixelArea{0, 0, 3, 4}));
}

TEST(RunLengths, WhoseSumDoesNotFitInThirtyTwoBitsAreNoPictures) {
  const std::vector<std::uint32_t> runs{0xffffffff, 13};  // 12 modulo 2^32
  EXPECT_FALSE(covers(runs, 3, 4));
  EXPECT_FALSE(covers({}, 3, 4));
}

TEST(Masks, TintTheirPixelsAndNoneOutside) {
  Canvas canvas(320, 240, 7);
  Drawing drawing(canvas.target());
  ASSERT_TRUE(drawing.mask(runs_of({100, 50, 200, 150}, 320, 240), kGreen));
  const Colour inside = canvas.at(150, 100);
  EXPECT_GT(inside.green, 130);
  EXPECT_LT(inside.green, 200);  // the picture is seen through it
  EXPECT_LT(inside.red, 80);
  EXPECT_GT(inside.red, 20);
  EXPECT_GT(canvas.at(100, 100).green, inside.green);  // the line along its edge
  for (const auto& [x, y] : {std::pair{96U, 100U}, {204U, 100U}, {150U, 46U}, {150U, 154U}}) {
    EXPECT_TRUE(canvas.is_untouched(x, y)) << x << "," << y;
  }
  EXPECT_TRUE(canvas.gaps_are_untouched());
}

TEST(Masks, HolesAreNotTinted) {
  Canvas canvas(64, 64);
  std::vector<std::uint32_t> runs = runs_of({10, 10, 50, 50}, 64, 64);
  std::vector<std::uint32_t> with_hole{runs[0]};
  for (std::size_t column = 0; column < 40; ++column) {  // rows 20..40 of columns 20..40 are out
    const std::uint32_t after = runs[2 * column + 2];
    if (column >= 10 && column < 30) {
      with_hole.insert(with_hole.end(), {10, 20, 10, after});
    } else {
      with_hole.insert(with_hole.end(), {40, after});
    }
  }
  ASSERT_TRUE(Drawing(canvas.target()).mask(with_hole, kGreen));
  EXPECT_FALSE(canvas.is_untouched(15, 30));
  EXPECT_TRUE(canvas.is_untouched(30, 30));
}

TEST(Masks, OfAnotherSizeAreRefusedAndEmptyOnesDrawNothing) {
  Canvas canvas(32, 16);
  Drawing drawing(canvas.target());
  EXPECT_FALSE(drawing.mask(std::vector<std::uint32_t>{0, 511}, kGreen));
  EXPECT_FALSE(drawing.mask(std::vector<std::uint32_t>{0, 513}, kGreen));
  EXPECT_FALSE(drawing.mask(std::vector<std::uint32_t>{0, 0xffffffff, 513}, kGreen));
  EXPECT_FALSE(drawing.mask({}, kGreen));
  EXPECT_TRUE(drawing.mask(std::vector<std::uint32_t>{512}, kGreen));
  EXPECT_EQ(canvas.touched(), 0U);
}

TEST(Masks, OfTheWholePictureAndOfOnePixel) {
  Canvas canvas(20, 10);
  EXPECT_TRUE(Drawing(canvas.target()).mask(std::vector<std::uint32_t>{0, 200}, kGreen));
  EXPECT_EQ(canvas.touched(), 200U);
  Canvas other(20, 10);
  EXPECT_TRUE(Drawing(other.target()).mask(std::vector<std::uint32_t>{199, 1}, kGreen));
  EXPECT_FALSE(other.is_untouched(19, 9));
  EXPECT_TRUE(other.is_untouched(10, 5));
}

TEST(TurnedBoxes, AreLinesBetweenTheirCornersAndNothingElse) {
  Canvas canvas(640, 480);
  Drawing drawing(canvas.target());
  const Corners corners = turned(300, 240, 200, 100, 0.5f);
  drawing.turned_box(corners, kGreen);
  for (std::size_t i = 0; i < 4; ++i) {
    const Point& a = corners[i];
    const Point& b = corners[(i + 1) % 4];
    for (const float part : {0.02f, 0.3f, 0.7f}) {
      const float x = a.x + (b.x - a.x) * part;
      const float y = a.y + (b.y - a.y) * part;
      EXPECT_GT(canvas.at(static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y)).green, 150)
          << i << " " << part;
    }
  }
  EXPECT_TRUE(canvas.is_untouched(300, 240));  // its middle
  EXPECT_TRUE(canvas.is_untouched(215, 160));  // in its upright hull, out of it
  EXPECT_TRUE(canvas.is_untouched(385, 320));
}

TEST(TurnedBoxes, AnUprightOneIsABox) {
  Canvas turned_one(200, 200);
  Canvas upright(200, 200);
  Drawing(turned_one.target()).turned_box(turned(100, 90, 80, 40, 0), kGreen);
  Drawing(upright.target()).box({60, 70, 140, 110}, kGreen);
  EXPECT_EQ(turned_one.bytes, upright.bytes);
}

TEST(TurnedBoxes, KeepTheirDirectionWherePartOfThemIsFarAway) {
  Canvas canvas(200, 200);
  // A long one through the picture's middle, along its diagonal.
  Drawing(canvas.target()).turned_box(turned(100, 100, 1e6f, 40, 0.7853982f), kGreen);
  for (const std::uint32_t at : {60U, 100U, 140U}) {
    EXPECT_TRUE(canvas.is_untouched(at, at)) << at;
    EXPECT_GT(canvas.at(at + 28 - 14, at - 14).green, 150) << at;
  }
}

TEST(TurnedBoxes, LabelsStandAtTheUppermostCorner) {
  Canvas canvas(400, 300);
  Drawing drawing(canvas.target());
  drawing.turned_label(turned(150, 200, 150, 60, 0.6f), "ship 0.9", kGreen);
  std::uint32_t lowest = 0;
  std::uint32_t left = 400;
  for (std::uint32_t y = 0; y < 300; ++y) {
    for (std::uint32_t x = 0; x < 400; ++x) {
      if (canvas.is_untouched(x, y)) continue;
      lowest = std::max(lowest, y);
      left = std::min(left, x);
    }
  }
  EXPECT_NEAR(lowest, 133, 2);  // 200 - 75 sin 0.6 - 30 cos 0.6
  EXPECT_NEAR(left, 105, 2);    // 150 - 75 cos 0.6 + 30 sin 0.6
}

TEST(Skeletons, LimbsAndJointsLieWhereTheyWereAskedFor) {
  Canvas canvas(320, 240);
  Drawing drawing(canvas.target());
  drawing.limb({50, 50}, {150, 150}, kGreen);
  drawing.joint({200, 100}, kGreen);
  EXPECT_GT(canvas.at(100, 100).green, 200);
  EXPECT_GT(canvas.at(200, 100).green, 200);
  EXPECT_TRUE(canvas.is_untouched(100, 110));
  EXPECT_TRUE(canvas.is_untouched(160, 160));
  EXPECT_TRUE(canvas.is_untouched(206, 100));
}

TEST(Skeletons, PartsInThePictureAreDrawn) {
  Canvas canvas(100, 100);
  Drawing drawing(canvas.target());
  drawing.limb({-1e9f, 50}, {1e9f, 50}, kGreen);
  drawing.joint({0, 0}, kGreen);
  EXPECT_GT(canvas.at(50, 50).green, 200);
  EXPECT_FALSE(canvas.is_untouched(0, 0));
}

TEST(Marks, OutOfThePictureOrOfNoNumberDrawNothing) {
  for (const std::uint32_t side : {1U, 8U, 100U}) {
    Canvas canvas(side, side);
    Drawing drawing(canvas.target());
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      for (std::size_t i = 0; i < 4; ++i) {
        Corners corners = turned(50, 50, 40, 20, 0.5f);
        corners[i].x = bad;
        drawing.turned_box(corners, kGreen);
        drawing.turned_label(corners, "ship", kGreen);
        corners = turned(50, 50, 40, 20, 0.5f);
        corners[i].y = bad;
        drawing.turned_box(corners, kGreen);
        drawing.turned_label(corners, "ship", kGreen);
      }
      drawing.box({10, bad, 50, 50}, kGreen);
      drawing.label({10, 10, bad, 50}, "person", kGreen);
      drawing.limb({bad, 10}, {50, 50}, kGreen);
      drawing.limb({10, 10}, {50, bad}, kGreen);
      drawing.joint({bad, 50}, kGreen);
      drawing.joint({50, bad}, kGreen);
    }
    for (const float far : {kHuge, -kHuge, 1e9f, -1e9f}) {
      drawing.joint({far, far}, kGreen);
      drawing.limb({far, far}, {far, far / 2}, kGreen);
      drawing.turned_box(turned(far, far, 40, 20, 0.5f), kGreen);
    }
    EXPECT_EQ(canvas.touched(), 0U) << side;
    // Through the picture with their ends far away.
    drawing.limb({-kHuge, kHuge}, {kHuge, -kHuge}, kGreen);
    drawing.box({-kHuge, -kHuge, kHuge, kHuge}, kGreen);
    drawing.label({-kHuge, -kHuge, kHuge, kHuge}, "all", kGreen);
  }
}

TEST(Panels, ShowABarAsLongAsItsShareInItsColour) {
  Canvas canvas(640, 480);
  constexpr Colour kRed{255, 0, 0};
  const std::vector<Bar> bars{{"tabby", 0.75f, kGreen}, {"tiger", 0.25f, kRed}};
  Drawing(canvas.target()).panel(bars);
  std::size_t green = 0;
  std::size_t red = 0;
  for (std::uint32_t y = 0; y < 480; ++y) {
    std::size_t green_here = 0;
    std::size_t red_here = 0;
    for (std::uint32_t x = 0; x < 640; ++x) {
      green_here += canvas.at(x, y) == kGreen ? 1 : 0;
      red_here += canvas.at(x, y) == kRed ? 1 : 0;
    }
    green = std::max(green, green_here);
    red = std::max(red, red_here);
  }
  EXPECT_GT(red, 10U);
  EXPECT_NEAR(static_cast<double>(green), 3.0 * static_cast<double>(red), 4);
  EXPECT_TRUE(canvas.is_untouched(320, 240));
  EXPECT_TRUE(canvas.is_untouched(1, 1));
}

TEST(Panels, StayInThePictureAndTakeAnyShare) {
  for (const std::uint32_t side : {1U, 12U, 60U, 200U}) {
    Canvas canvas(side, side, 9);
    const std::vector<Bar> bars{{std::string(24, 'w'), kNan, kGreen},
                                {"", -5, kGreen},
                                {"b", kHuge, kGreen},
                                {std::string(300, 'm'), kInfinity, kGreen}};
    Drawing(canvas.target()).panel(bars);
    EXPECT_TRUE(canvas.gaps_are_untouched()) << side;
    if (side < 200) continue;
    EXPECT_TRUE(canvas.is_untouched(side - 1, 20));  // a name that is too long is cut
    EXPECT_GT(canvas.touched(), 1000U);
  }
  Canvas canvas(60, 60);
  Drawing(canvas.target()).panel({});
  EXPECT_EQ(canvas.touched(), 0U);
}

}  // namespace
}  // namespace fovea::imaging
