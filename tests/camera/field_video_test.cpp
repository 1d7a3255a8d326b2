// Videos as people have them: turned, of variable rate, damaged, cut off, too large, no file at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "nodes/camera/source_supervisor.hpp"
#include "tests/camera/camera_testing.hpp"
#include "tests/imaging/video_maker.hpp"

namespace fovea::frames {
namespace {

using imaging::MadeVideo;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

class FieldVideoTest : public testing::Test {
 protected:
  std::string uri(const std::string& query = "rate=max") const {
    return "file://" + path + "?" + query;
  }
  TempDir dir;
  std::string path = dir / "a.mp4";
};

struct Played {
  std::vector<GrabStatus> statuses;
  std::vector<std::string> details;
  std::string end;  // the error that ended it, if one did
  std::size_t bad() const {
    return static_cast<std::size_t>(
        std::count(statuses.begin(), statuses.end(), GrabStatus::kBadFrame));
  }
};

Played play(FrameSource& source) {
  Played played;
  for (int calls = 0; calls < 1000; ++calls) {
    const auto grab = source.grab(1s);
    if (!grab) {
      played.end = grab.error().message;
      return played;
    }
    if (grab->status == GrabStatus::kEndOfStream) return played;
    played.statuses.push_back(grab->status);
    if (grab->status == GrabStatus::kBadFrame) played.details.push_back(grab->detail);
  }
  ADD_FAILURE() << "no end";
  return played;
}

std::vector<std::string> warnings_of(FrameSource& source) {
  std::vector<std::string> warnings;
  for (std::string text = source.take_warning(); !text.empty(); text = source.take_warning()) {
    warnings.push_back(text);
  }
  return warnings;
}

// Top left white, top right grey, the rest black.
std::array<int, 3> corner(int, int x, int y) {
  return {y >= 24 ? 16 : x < 32 ? 235 : 128, 128, 128};
}

TEST_F(FieldVideoTest, ADisplayMatrixIsAppliedToPixelsAndSizeAndTheCopyIsCounted) {
  constexpr std::int32_t kOne = 1 << 16;
  struct Case {
    std::array<std::int32_t, 4> matrix;  // a b c d
    bool swapped;
    std::array<int, 4> corners;  // top left, top right, bottom left, bottom right
  };
  for (const Case& turn : {Case{{0, kOne, -kOne, 0}, true, {0, 255, 0, 130}},    // 90 clockwise
                           Case{{-kOne, 0, 0, -kOne}, false, {0, 0, 130, 255}},  // 180
                           Case{{0, -kOne, kOne, 0}, true, {130, 0, 255, 0}},    // 270
                           Case{{-kOne, 0, 0, kOne}, false, {130, 255, 0, 0}},   // mirrored
                           Case{{kOne, 0, 0, -kOne}, false, {0, 0, 255, 130}}}) {
    const auto& m = turn.matrix;
    ASSERT_TRUE(imaging::make_video(
        {.path = path,
         .frames = 2,
         .matrix = std::array<std::int32_t, 9>{m[0], m[1], 0, m[2], m[3], 0, 0, 0, 1 << 30},
         .paint = corner}));
    const auto source = open_source(uri());
    ASSERT_TRUE(source);
    const auto grab = source->grab(1s);
    ASSERT_TRUE(grab);
    ASSERT_EQ(grab->status, GrabStatus::kFrame);
    EXPECT_EQ(source->info().width, turn.swapped ? 48u : 64u);
    ASSERT_EQ(grab->frame.width, turn.swapped ? 48u : 64u);
    ASSERT_EQ(grab->frame.height, turn.swapped ? 64u : 48u);
    Canvas canvas(grab->frame);
    ASSERT_TRUE(source->retrieve(canvas.view()));
    EXPECT_TRUE(canvas.padding_untouched());
    const std::uint32_t right = grab->frame.width - 3;
    const std::uint32_t bottom = grab->frame.height - 3;
    EXPECT_NEAR(canvas.at(2, 2)[1], turn.corners[0], 12);
    EXPECT_NEAR(canvas.at(right, 2)[1], turn.corners[1], 12);
    EXPECT_NEAR(canvas.at(2, bottom)[1], turn.corners[2], 12);
    EXPECT_NEAR(canvas.at(right, bottom)[1], turn.corners[3], 12);
    EXPECT_EQ(source->counters().bytes_copied, 3u * 64 * 48);
  }
}

TEST_F(FieldVideoTest, AnOddAngleIsNotAppliedAndSaid) {
  ASSERT_TRUE(imaging::make_video(
      {.path = path,
       .frames = 2,
       .matrix = std::array<std::int32_t, 9>{46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30}}));
  const auto source = open_source(uri());
  ASSERT_TRUE(source);
  EXPECT_EQ(source->info().width, 64u);
  EXPECT_THAT(warnings_of(*source), ElementsAre(HasSubstr("no multiple of 90 degrees")));
  ASSERT_TRUE(source->open());
  EXPECT_THAT(warnings_of(*source), ElementsAre());  // said once
}

TEST_F(FieldVideoTest, AVariableRateIsPlayedAndStampedByTheFilesOwnStamps) {
  const std::vector<std::int64_t> stamps{0, 40, 80, 500, 540, 1500};
  for (const char* name : {"v.mp4", "v.mkv"}) {
    path = dir / name;
    ASSERT_TRUE(imaging::make_video({.path = path, .frames = 6, .stamps_ms = stamps}));
    FakeClock clock;
    const auto source = open_source(uri("loop=true"), {.clock = &clock});
    ASSERT_TRUE(source);
    const Nanoseconds start = clock.now;
    for (int pass = 0; pass < 2; ++pass) {
      Nanoseconds first{0};
      for (std::size_t i = 0; i < stamps.size(); ++i) {
        const auto grab = source->grab(5s);
        ASSERT_TRUE(grab);
        ASSERT_EQ(grab->status, GrabStatus::kFrame);
        const Nanoseconds stamp(grab->frame.stamp_monotonic);
        if (i == 0) first = stamp;
        EXPECT_EQ(stamp - first, std::chrono::milliseconds(stamps[i])) << name << ' ' << i;
        EXPECT_EQ(clock.now, stamp);  // played then, too
      }
      // The second pass follows behind the first one's last frame.
      EXPECT_GE(first, pass == 0 ? start : start + 1501ms);
      EXPECT_LE(first, pass == 0 ? start : start + 3s);
    }
    EXPECT_THAT(warnings_of(*source), ElementsAre());
  }
}

TEST_F(FieldVideoTest, ARateThatIsGivenOverridesTheStamps) {
  ASSERT_TRUE(imaging::make_video({.path = path, .frames = 4, .stamps_ms = {0, 40, 500, 1500}}));
  FakeClock clock;
  const auto source = open_source(uri("rate=20"), {.clock = &clock});
  ASSERT_TRUE(source);
  const Nanoseconds start = clock.now;
  for (int i = 0; i < 4; ++i) {
    const auto grab = source->grab(5s);
    ASSERT_TRUE(grab);
    EXPECT_EQ(grab->frame.stamp_monotonic, (start + i * 50ms).count());
  }
}

TEST_F(FieldVideoTest, StampsThatJumpNeitherStopNorRaceAndAreSaidOnce) {
  path = dir / "v.mkv";
  ASSERT_TRUE(imaging::make_video(
      {.path = path, .frames = 10, .restamp = [](int frame, std::int64_t stamp) {
         return frame < 5 ? stamp : stamp + 3'600'000;
       }}));
  FakeClock clock;
  const auto source = open_source(uri("rate=native"), {.clock = &clock});
  ASSERT_TRUE(source);
  const Nanoseconds start = clock.now;
  const Played played = play(*source);
  EXPECT_EQ(played.statuses.size(), 10u);
  EXPECT_LE(clock.now - start, 2s);
  EXPECT_GE(clock.now - start, 500ms);
  EXPECT_THAT(warnings_of(*source), ElementsAre(HasSubstr("jump ahead")));
}

void spoil_third(int frame, std::vector<std::uint8_t>& bytes) {
  if (frame != 3) return;
  for (std::size_t i = bytes.size() / 3; i < bytes.size() * 2 / 3; ++i) {
    bytes[i] = static_cast<std::uint8_t>(37 * i + 11);
  }
}

std::array<int, 3> texture(int frame, int x, int y) {
  return {(x * 7 + y * 13 + frame * 29 + x * y) % 200 + 20, 128 + (x + frame) % 20, 120};
}

TEST_F(FieldVideoTest, ConcealedDamageIsABadFrameAndTheOthersGoOn) {
  for (const auto& [name, codec] : {std::pair{"v.avi", "mjpeg"},
                                    {"v.avi", "mpeg4"},
                                    {"v.mp4", "mpeg4"},
                                    {"v.mkv", "mpeg2video"}}) {
    path = dir / name;
    ASSERT_TRUE(imaging::make_video({.path = path,
                                     .codec = codec,
                                     .width = 160,
                                     .height = 128,
                                     .frames = 10,
                                     .fps = 25,
                                     .paint = texture,
                                     .damage = spoil_third}));
    const auto source = open_source(uri());
    ASSERT_TRUE(source);
    const Played played = play(*source);
    EXPECT_EQ(played.end, "") << codec;
    EXPECT_EQ(played.statuses.size(), 10u) << codec;
    ASSERT_EQ(played.bad(), 1u) << codec << " in " << name;
    EXPECT_EQ(played.statuses[3], GrabStatus::kBadFrame) << codec;
    EXPECT_NE(played.details[0], "");
    EXPECT_EQ(source->counters().bad_frames, 1u);
  }
}

TEST_F(FieldVideoTest, AnUndamagedVideoOfEveryCodecHasNoBadFrame) {
  for (const char* codec : {"mjpeg", "mpeg4", "mpeg2video", "ffv1"}) {
    path = dir / "v.mkv";
    ASSERT_TRUE(imaging::make_video(
        {.path = path, .codec = codec, .width = 160, .height = 128, .fps = 25, .paint = texture}));
    const auto source = open_source(uri());
    ASSERT_TRUE(source);
    const Played played = play(*source);
    EXPECT_EQ(played.end, "") << codec;
    EXPECT_EQ(played.statuses.size(), 20u) << codec;
    EXPECT_EQ(played.bad(), 0u) << codec;
  }
}

TEST_F(FieldVideoTest, AFileCutInTheMiddleSaysSoAtItsEnd) {
  for (const char* name : {"v.avi", "v.mkv", "v.mp4"}) {
    path = dir / name;
    ASSERT_TRUE(imaging::make_video({.path = path,
                                     .codec = "mjpeg",
                                     .width = 160,
                                     .height = 128,
                                     .frames = 60,
                                     .index_first = true,
                                     .paint = texture}));
    const auto whole = open_source(uri());
    ASSERT_TRUE(whole);
    EXPECT_EQ(play(*whole).end, "") << name;
    std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
    const auto source = open_source(uri());
    ASSERT_TRUE(source);
    const Played played = play(*source);
    EXPECT_GT(played.statuses.size(), 10u) << name;
    EXPECT_THAT(played.end, HasSubstr("are there")) << name;
  }
}

TEST_F(FieldVideoTest, ColourRangeAndMatrixAreTheStreams) {
  struct Case {
    bool full_range;
    bool bt709;
    std::array<int, 3> colour;    // luma, cb, cr
    std::array<int, 3> expected;  // b, g, r
  };
  for (const Case& one : {Case{false, false, {235, 128, 128}, {255, 255, 255}},
                          Case{true, false, {235, 128, 128}, {235, 235, 235}},
                          Case{false, false, {81, 90, 240}, {0, 0, 254}},     // red by BT.601
                          Case{false, true, {63, 102, 240}, {0, 0, 255}}}) {  // red by BT.709
    ASSERT_TRUE(imaging::make_video({.path = dir / "v.mkv",
                                     .codec = "ffv1",
                                     .frames = 1,
                                     .full_range = one.full_range,
                                     .bt709 = one.bt709,
                                     .paint = [&](int, int, int) { return one.colour; }}));
    path = dir / "v.mkv";
    const auto source = open_source(uri());
    ASSERT_TRUE(source);
    const auto grab = source->grab(1s);
    ASSERT_TRUE(grab);
    ASSERT_EQ(grab->status, GrabStatus::kFrame);
    Canvas canvas(grab->frame);
    ASSERT_TRUE(source->retrieve(canvas.view()));
    for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(canvas.at(20, 20)[c], one.expected[c], 4);
  }
}

TEST_F(FieldVideoTest, FramesAboveTheLimitAreRefusedByNameBeforeTheyAreDecoded) {
  ASSERT_TRUE(imaging::make_video({.path = path, .frames = 3}));
  auto source = make_frame_source(uri("max_pixels=3000"), {});
  ASSERT_TRUE(source);
  const auto opened = (*source)->open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(opened.error().message, HasSubstr("is 64x48"));
  EXPECT_THAT(opened.error().message, HasSubstr("max_pixels is 3000"));
  EXPECT_TRUE(open_source(uri("max_pixels=3072")));
}

TEST(FrameLimit, AFrameThatGrowsInMidStreamIsABadOne) {
  ScriptedSource source({.width = 16, .height = 16, .fps = 10},
                        {.rate = kAsFastAsPossible, .max_pixels = 16 * 16});
  source.grabs = {ScriptedSource::frame(16, 16), ScriptedSource::frame(4000, 4000),
                  ScriptedSource::frame(16, 16)};
  ASSERT_TRUE(source.open());
  EXPECT_EQ(source.grab(1s)->status, GrabStatus::kFrame);
  const auto large = source.grab(1s);
  EXPECT_EQ(large->status, GrabStatus::kBadFrame);
  EXPECT_THAT(large->detail, HasSubstr("max_pixels is 256"));
  EXPECT_EQ(source.grab(1s)->status, GrabStatus::kFrame);
}

TEST_F(FieldVideoTest, AFifoInAVideosPlaceIsAnErrorAtOnce) {
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  auto source = make_frame_source(uri(), {});
  ASSERT_TRUE(source);
  const auto opened = (*source)->open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(opened.error().message, HasSubstr("must be a file"));
}

}  // namespace
}  // namespace fovea::frames
