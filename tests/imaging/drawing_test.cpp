// Marks lie where they were asked for, in their colour, and nothing else is touched.
#include "nodes/imaging/drawing.hpp"

#include <string>

#include <gtest/gtest.h>

#include "tests/imaging/canvas.hpp"

namespace fovea::imaging {
namespace {

TEST(Drawing, ABoxIsALineAlongItsEdgesAndNothingElse) {
  Canvas canvas(640, 480, 5);
  Drawing drawing(canvas.target());
  drawing.box({100, 50, 300, 250}, kGreen);
  for (const auto& [x, y] : {std::pair{100U, 150U}, {299U, 150U}, {200U, 50U}, {200U, 249U}}) {
    EXPECT_GT(canvas.at(x, y).green, 200) << x << "," << y;
    EXPECT_LT(canvas.at(x, y).red, 60) << x << "," << y;
  }
  for (const auto& [x, y] : {std::pair{200U, 150U}, {106U, 150U}, {94U, 150U}, {200U, 44U}}) {
    EXPECT_TRUE(canvas.is_untouched(x, y)) << x << "," << y;
  }
  EXPECT_TRUE(canvas.gaps_are_untouched());
}

TEST(Drawing, LinesGrowWithThePicture) {
  Canvas small(320, 240);
  Canvas large(4000, 3000);
  EXPECT_GE(Drawing(small.target()).line_width(), 1);
  EXPECT_GT(Drawing(large.target()).line_width(), 3 * Drawing(small.target()).line_width());
}

TEST(Drawing, ALabelStandsAboveItsBoxOnItsColourWithLettersThatDiffer) {
  Canvas canvas(640, 480);
  Drawing drawing(canvas.target());
  drawing.label({100, 200, 300, 300}, "person 0.93", kGreen);
  std::size_t ground = 0;
  std::size_t letters = 0;
  for (std::uint32_t y = 0; y < 480; ++y) {
    for (std::uint32_t x = 0; x < 640; ++x) {
      if (canvas.is_untouched(x, y)) continue;
      ASSERT_LE(y, 200U);
      ASSERT_GE(y, 170U);
      ground += canvas.at(x, y) == kGreen ? 1 : 0;
      letters += canvas.at(x, y).green < 60 ? 1 : 0;
    }
  }
  EXPECT_GT(ground, 500U);
  EXPECT_GT(letters, 50U);
}

TEST(Drawing, LabelsAtEdgesStayInThePictureAndOffEachOther) {
  Canvas canvas(320, 240);
  Drawing drawing(canvas.target());
  drawing.label({0, 0, 50, 50}, "person 0.93", kGreen);
  const std::size_t one = canvas.touched();
  EXPECT_GT(one, 500U);
  drawing.label({0, 0, 52, 52}, "person 0.93", kGreen);
  EXPECT_NEAR(static_cast<double>(canvas.touched()), 2.0 * static_cast<double>(one),
              0.2 * static_cast<double>(one));
  drawing.label({310, 230, 320, 240}, "person 0.93", kGreen);
  EXPECT_NEAR(static_cast<double>(canvas.touched()), 3.0 * static_cast<double>(one),
              0.2 * static_cast<double>(one));
}

TEST(Drawing, NoMarkIsTooLargeForAPicture) {
  for (const std::uint32_t side : {1U, 2U, 9U}) {
    Canvas canvas(side, side);
    Drawing drawing(canvas.target());
    drawing.box({-1e9f, -5, 1e9f, 3}, kGreen);
    drawing.label({0, 0, 1, 1}, std::string(300, 'w'), kGreen);
    EXPECT_GT(canvas.touched(), 0U);
  }
}

TEST(Drawing, FortyEightColoursDiffer) {
  for (std::uint32_t a = 0; a < 48; ++a) {
    for (std::uint32_t b = 0; b < a; ++b) EXPECT_NE(colour_of(a), colour_of(b)) << a << " " << b;
  }
  EXPECT_EQ(colour_of(3), colour_of(3 + 48));
  EXPECT_EQ(colour_of(4'294'967'295U), colour_of(15));
}

TEST(Drawing, CharactersThatTheFontLacksAreOneQuestionMarkEach) {
  EXPECT_EQ(writable_text("Stra\xc3\x9f"
                          "e 0.5"),
            "Stra?e 0.5");
  EXPECT_EQ(writable_text("\xe8\xbd\xa6\xe8\xbd\xa6"), "??");
  EXPECT_EQ(writable_text("a\nb\x7f"), "a?b?");
}

}  // namespace
}  // namespace fovea::imaging
