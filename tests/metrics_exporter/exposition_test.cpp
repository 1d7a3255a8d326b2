// The text that a scraper gets, for names and labels of any bytes.
#include "nodes/metrics_exporter/exposition.hpp"

#include <array>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/metrics_exporter/scrape.hpp"

namespace fovea::exporter {
namespace {

using test::Scrape;
using testing::IsEmpty;

TEST(Exposition, SeriesOfAFamilyStandTogetherUnderOneHeader) {
  Exposition text;
  text.add("fovea_frames_total", SeriesKind::kCounter, "Frames.", {{"node", "a"}}, 1);
  text.add("fovea_up", SeriesKind::kGauge, "Up.", {}, 1);
  text.add("fovea_frames_total", SeriesKind::kCounter, "Frames.", {{"node", "b"}, {"camera", ""}},
           1e15);
  EXPECT_EQ(text.text(),
            "# HELP fovea_frames_total Frames.\n# TYPE fovea_frames_total counter\n"
            "fovea_frames_total{node=\"a\"} 1\nfovea_frames_total{node=\"b\"} 1000000000000000\n"
            "# HELP fovea_up Up.\n# TYPE fovea_up gauge\nfovea_up 1\n");
}

TEST(Exposition, AnyBytesMakeAReadableText) {
  Exposition text;
  const std::array<std::string, 6> nasty{"a\"b",     "back\\slash", "line\nfeed",
                                         "\xff\xfe", "\x1b[31m",    std::string("nul\0byte", 8)};
  for (const std::string& bytes : nasty) {
    text.add("fovea_x", SeriesKind::kGauge, bytes, {{"label", bytes}}, 1);
    text.add("9 " + bytes, SeriesKind::kGauge, bytes, {{"9" + bytes, "x"}},
             std::numeric_limits<double>::infinity());
  }
  const Scrape scrape(text.text());
  EXPECT_THAT(scrape.errors, IsEmpty()) << text.text();
  EXPECT_EQ(scrape.value(R"(fovea_x{label="a\"b"})"), 1);
  EXPECT_EQ(scrape.value(R"(fovea_x{label="line\\x0afeed"})"), 1);
}

TEST(Exposition, SeriesThatWouldBeTheSameAreAddedUp) {
  Exposition text;
  text.add("x y", SeriesKind::kGauge, "X.", {}, 1);
  text.add("x_y", SeriesKind::kGauge, "X.", {}, 2);
  text.add("x_y", SeriesKind::kCounter, "Another type of that name.", {}, 4);
  const Scrape scrape(text.text());
  EXPECT_THAT(scrape.errors, IsEmpty());
  EXPECT_EQ(scrape.value("x_y"), 3);
}

TEST(Exposition, AHistogramHasItsBucketsSumAndCount) {
  Exposition text;
  const std::array<double, 2> bounds{0.001, 0.1};
  const std::array<std::uint64_t, 2> counts{3, 5};
  text.add_histogram("fovea_latency_seconds", "Latency.", {{"node", "a"}},
                     {.bounds = bounds, .counts = counts, .total = 6, .sum = 0.5});
  const Scrape scrape(text.text());
  EXPECT_THAT(scrape.errors, IsEmpty());
  EXPECT_EQ(scrape.value(R"(fovea_latency_seconds_bucket{node="a",le="0.1"})"), 5);
  EXPECT_EQ(scrape.value(R"(fovea_latency_seconds_bucket{node="a",le="+Inf"})"), 6);
  EXPECT_EQ(scrape.value(R"(fovea_latency_seconds_count{node="a"})"), 6);
  EXPECT_EQ(scrape.value(R"(fovea_latency_seconds_sum{node="a"})"), 0.5);
}

}  // namespace
}  // namespace fovea::exporter
