// Zones and lines as a user writes them, and points in polygons.
#include "nodes/tracker/regions.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fovea {
namespace {

using testing::HasSubstr;

std::string zone_error(std::string_view text) {
  const auto zone = parse_zone(text);
  EXPECT_FALSE(zone) << text;
  return zone ? "" : zone.error().message;
}
std::string line_error(std::string_view text) {
  const auto line = parse_line(text);
  EXPECT_FALSE(line) << text;
  return line ? "" : line.error().message;
}
std::vector<Point2D> corners(std::string_view text) {
  auto zone = parse_zone(text);
  EXPECT_TRUE(zone) << zone.error().message;
  return zone ? zone->corners : std::vector<Point2D>{};
}

TEST(Regions, AreRead) {
  const auto zone = parse_zone("yard_1: 0 0, 1 0, 0.5 1");
  ASSERT_TRUE(zone) << zone.error().message;
  EXPECT_EQ(zone->name, "yard_1");
  EXPECT_EQ(zone->corners, (std::vector<Point2D>{{0, 0}, {1, 0}, {0.5, 1}}));
  const auto line = parse_line("gate:0.5  0.25 5e-1 .75");
  ASSERT_TRUE(line) << line.error().message;
  EXPECT_EQ(line->name, "gate");
  EXPECT_EQ(line->to, (Point2D{0.5, 0.75}));
}

TEST(Regions, BadOnesAreRefusedWithNameAndValue) {
  EXPECT_THAT(zone_error("0 0 1 0 1 1"), HasSubstr("has no name"));
  EXPECT_THAT(zone_error(""), HasSubstr("has no name"));
  EXPECT_THAT(zone_error(": 0 0 1 0 1 1"), HasSubstr("name is ''"));
  EXPECT_THAT(zone_error("a/b: 0 0 1 0 1 1"), HasSubstr("name is 'a/b'"));
  EXPECT_THAT(zone_error(std::string(32, 'a') + ": 0 0 1 0 1 1"), HasSubstr("1 to 31 letters"));
  EXPECT_THAT(zone_error("yard: 0 0 1 0 x 1"), HasSubstr("'yard' has 'x', which is no number"));
  EXPECT_THAT(zone_error("yard: 0 0 1 0 nan 1"), HasSubstr("'nan', which is no number"));
  EXPECT_THAT(zone_error("yard: 0 0 1 0 1px 1"), HasSubstr("'1px', which is no number"));
  EXPECT_THAT(zone_error("yard: 0 0 320 0 320 240"),
              HasSubstr("'yard' has 320; points are fractions of the picture"));
  EXPECT_THAT(zone_error("yard: 0 0 1 0 1 -0.1"), HasSubstr("'yard' has -0.1"));
  EXPECT_THAT(zone_error("yard: 0 0 1 0 1"), HasSubstr("'yard' has 5 numbers"));
  EXPECT_THAT(zone_error("yard: 0 0 1 0"), HasSubstr("'yard' has 2 corners; a zone has 3 to 64"));
  EXPECT_THAT(zone_error("yard:"), HasSubstr("'yard' has 0 corners"));
  std::string many = "yard:";
  for (int i = 0; i < 65; ++i) many += " 0.5 0." + std::to_string(100 + i);
  EXPECT_THAT(zone_error(many), HasSubstr("'yard' has 65 corners"));
  EXPECT_THAT(zone_error("yard: 0 0 1 0 1 0 1 1"), HasSubstr("the corner 1 0 twice in a row"));
  EXPECT_THAT(zone_error("yard: 0 0 1 0 1 1 0 0"), HasSubstr("the corner 0 0 twice in a row"));
  EXPECT_THAT(zone_error("bow: 0 0 1 1 1 0 0 1"), HasSubstr("'bow' crosses or touches itself"));
  EXPECT_THAT(zone_error("spike: 0 0 1 0 0.5 0 0.5 1"), HasSubstr("crosses or touches itself"));
  EXPECT_THAT(zone_error("flat: 0 0 0.5 0.5 1 1"), HasSubstr("'flat' has no area"));
  EXPECT_THAT(line_error("gate: 0 0 1"), HasSubstr("'gate' has 3 numbers"));
  EXPECT_THAT(line_error("gate: 0 0 1 1 0 1"), HasSubstr("'gate' has 3 points; a line has 2"));
  EXPECT_THAT(line_error("gate: 0.5 0.5 0.5 0.5"), HasSubstr("begins and ends at 0.5 0.5"));
  EXPECT_THAT(line_error("gate: 0 0 2 0"), HasSubstr("'gate' has 2; points are fractions"));
}

TEST(Regions, NamesAreGivenOnceAndNotTooMany) {
  const std::vector<std::string> zones{"yard: 0 0 1 0 1 1", "street: 0 0 1 0 1 1"};
  const std::vector<std::string> lines{"yard: 0 0 1 0"};
  const auto made = make_regions(zones, lines, Anchor::kBottomCenter);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->zones.size(), 2u);
  EXPECT_EQ(made->lines.size(), 1u);
  EXPECT_EQ(made->anchor, Anchor::kBottomCenter);
  const auto twice = make_regions({}, std::vector<std::string>{lines[0], "yard: 0 0 0 1"}, {});
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().message, "lines: 'yard' is given twice");
  const auto many = make_regions(std::vector<std::string>(17, zones[0]), {}, {});
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().message, "zones has 17; at most 16 are counted");
}

TEST(Regions, TheEdgeAndTheCornersAreInside) {
  const auto square = corners("s: 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75");
  EXPECT_TRUE(contains(square, {0.5, 0.5}));
  for (const double at : {0.25, 0.5, 0.75}) {
    EXPECT_TRUE(contains(square, {at, 0.25}));
    EXPECT_TRUE(contains(square, {at, 0.75}));
    EXPECT_TRUE(contains(square, {0.25, at}));
    EXPECT_TRUE(contains(square, {0.75, at}));
  }
  for (const double at : {0.0, 0.24, 0.76, 1.0}) {
    EXPECT_FALSE(contains(square, {at, 0.25})) << at << " beside, as high as an edge";
    EXPECT_FALSE(contains(square, {0.25, at}));
    EXPECT_FALSE(contains(square, {at, 0.5}));
    EXPECT_FALSE(contains(square, {at, at}));
  }
}

TEST(Regions, AConcavePolygonHasABayOutside) {
  // A U, written either way round.
  for (const auto* text : {"u: 0 0 0.25 0 0.25 0.75 0.75 0.75 0.75 0 1 0 1 1 0 1",
                           "u: 0 1 1 1 1 0 0.75 0 0.75 0.75 0.25 0.75 0.25 0 0 0"}) {
    const auto u = corners(text);
    EXPECT_FALSE(contains(u, {0.5, 0.5}));
    EXPECT_FALSE(contains(u, {0.5, 0}));
    EXPECT_TRUE(contains(u, {0.1, 0.5}));
    EXPECT_TRUE(contains(u, {0.9, 0.5}));
    EXPECT_TRUE(contains(u, {0.5, 0.9}));
    EXPECT_TRUE(contains(u, {0.5, 0.75})) << "on the bay's edge";
    EXPECT_TRUE(contains(u, {0.1, 0.75})) << "as high as an edge";
  }
}

TEST(Regions, ARayThroughACornerCountsItOnce) {
  const auto diamond = corners("d: 0.5 0 1 0.5 0.5 1 0 0.5");
  EXPECT_TRUE(contains(diamond, {0.25, 0.5}));
  EXPECT_TRUE(contains(diamond, {0.75, 0.5}));
  EXPECT_FALSE(contains(diamond, {0.75, 0}));
  EXPECT_FALSE(contains(diamond, {0.75, 1}));
  EXPECT_FALSE(contains(diamond, {1.5, 0.5}));
  EXPECT_FALSE(contains(diamond, {-0.5, 0.5}));
}

TEST(Regions, RightIsAsSeenInThePicture) {
  EXPECT_GT(side_of({0, 0}, {1, 0}, {0.5, 1}), 0)
      << "who walks to the right has the floor to the right";
  EXPECT_LT(side_of({0, 1}, {0, 0}, {-1, 0.5}), 0) << "who walks up has the left to the left";
  EXPECT_EQ(side_of({0, 0}, {1, 1}, {0.5, 0.5}), 0);
}

}  // namespace
}  // namespace fovea
