// A wrong URI says what is wrong with it and what would be right, and a password never shows.
#include "nodes/camera/source_uri.hpp"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/camera/frame_source.hpp"

namespace fovea::frames {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct BadUri {
  const char* uri;
  const char* expected;  // in the message
};

class BadUris : public testing::TestWithParam<BadUri> {};

TEST_P(BadUris, AreRefusedWithWhatWouldBeValid) {
  const auto source = make_frame_source(GetParam().uri, {});
  ASSERT_FALSE(source) << GetParam().uri;
  EXPECT_EQ(source.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(source.error().message, AllOf(HasSubstr(GetParam().expected), HasSubstr("source '")));
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadUris,
    testing::Values(
        BadUri{"", "file://, images://, bag://, synthetic://, v4l2://, rtsp:// or rtsps://"},
        BadUri{"/dev/video0", "has no scheme; it must start with file://"},
        BadUri{"ftp://host/a.avi", "unknown scheme 'ftp'; it must be file://"},
        BadUri{"File:///a.avi", "unknown scheme 'File'"}, BadUri{"://x", "unknown scheme ''"},
        BadUri{"file://", "names no file"}, BadUri{"images://", "names no folder"},
        BadUri{"v4l2://", "names no device"}, BadUri{"rtsp://", "names no host"},
        BadUri{"synthetic://scene", "takes no path"},
        BadUri{"file:///a.avi?speed=2",
               "unknown key 'speed'; file:// takes loop, start, rate, threads"},
        BadUri{"v4l2:///dev/video0?loop=true", "unknown key 'loop'"},
        BadUri{"file:///a.avi?loop=yes", "loop is yes; it must be true or false"},
        BadUri{"file:///a.avi?loop", "'loop' is not key=value"},
        BadUri{"file:///a.avi?=true", "'=true' is not key=value"},
        BadUri{"file:///a.avi?start=-1", "start is -1; it must be 0..1e7"},
        BadUri{"file:///a.avi?start=nan", "start is nan"},
        BadUri{"file:///a.avi?rate=0", "rate is 0; it must be native, max or 0.001..1000"},
        BadUri{"file:///a.avi?rate=10Hz", "rate is 10Hz"},
        BadUri{"file:///a.avi?threads=0", "threads is 0; it must be 1..64"},
        BadUri{"file:///a%2.avi", "not followed by two hexadecimal digits"},
        BadUri{"file:///a%00.avi", "not followed by two hexadecimal digits"},
        BadUri{"synthetic://?width=8", "width is 8; it must be 16..16384"},
        BadUri{"synthetic://?width=99999999999999999999", "width is 99999999999999999999"},
        BadUri{"synthetic://?height=-4", "height is -4"}, BadUri{"synthetic://?fps=0", "fps is 0"},
        BadUri{"synthetic://?objects=65", "objects is 65; it must be 0..64"},
        BadUri{"synthetic://?seed=x", "seed is x"},
        BadUri{"v4l2:///dev/video0?format=h264",
               "format is h264; it must be bgr24, yuyv or mjpg"}));

TEST(SourceUri, NulBytesAreRefused) {
  EXPECT_FALSE(make_frame_source(std::string_view("file:///a\0.avi", 14), {}));
}

TEST(SourceUri, WrongOptionsAreRefusedLikeWrongKeys) {
  EXPECT_FALSE(make_frame_source("synthetic://", {.rate = -1}));
  EXPECT_FALSE(make_frame_source("synthetic://", {.rate = std::nan("")}));
  EXPECT_FALSE(make_frame_source("synthetic://", {.start_offset = -1}));
  EXPECT_FALSE(make_frame_source("synthetic://", {.width = 100000}));
  EXPECT_FALSE(make_frame_source("synthetic://", {.height = 4}));
  EXPECT_FALSE(make_frame_source("synthetic://", {.fps = -5}));
}

TEST(SourceUri, PathsMayBeRelativeAndEscaped) {
  const auto uri = parse_source_uri("file://data/a%20b%3f.avi?loop=true&start=2.5");
  ASSERT_TRUE(uri);
  EXPECT_EQ(uri->path, "data/a b?.avi");
  ASSERT_EQ(uri->query.size(), 2u);
  EXPECT_EQ(uri->query[1], (std::pair<std::string, std::string>("start", "2.5")));
}

TEST(SourceUri, TheQueryOfAnRtspUriBelongsToTheCamera) {
  const auto uri = parse_source_uri("rtsp://host/live?channel=1&subtype=0");
  ASSERT_TRUE(uri);
  EXPECT_EQ(uri->path, "host/live?channel=1&subtype=0");
  EXPECT_TRUE(make_frame_source("rtsp://host/live?channel=1&subtype=0", {}));
}

TEST(SourceUri, CredentialsNeverShow) {
  for (const char* uri :
       {"rtsp://admin:secret@host:554/live", "rtsp://host/live?user=admin&password=secret",
        "rtsp://admin:se/secret@host/live", "rtsp://admin:p?secret@host/live",
        "rtsp://admin:p@secret@host/live", "rtsps://admin:secret@host/",
        "http://admin:secret@host/"}) {
    EXPECT_THAT(redact_uri(uri),
                AllOf(Not(HasSubstr("secret")), Not(HasSubstr("admin")), HasSubstr("host")));
    const auto source = make_frame_source(uri, {});
    EXPECT_THAT(source ? (*source)->name() : source.error().message, Not(HasSubstr("secret")));
  }
  EXPECT_EQ(redact_uri("file:///data/a@b.avi?loop=true"), "file:///data/a@b.avi?loop=true");
}

}  // namespace
}  // namespace fovea::frames
