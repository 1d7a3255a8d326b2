// Video files: order, seeking, looping, pacing, and what damage looks like. The videos are written
// here: one grey level per frame, so that a frame tells its number.
#include "nodes/base/file_io.hpp"
#include "nodes/camera/video_source.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <opencv2/core.hpp>
#include <opencv2/videoio.hpp>

#include "nodes/camera/source_supervisor.hpp"
#include "tests/camera/camera_testing.hpp"

namespace fovea::frames {
namespace {

using testing::HasSubstr;

constexpr int kFrames = 20;
constexpr double kFps = 10;

int grey_of(std::uint64_t frame) { return 20 + 10 * static_cast<int>(frame); }

void write_video(const std::string& path, int width = 64, int height = 48, int frames = kFrames) {
  cv::VideoWriter writer(path, cv::VideoWriter::fourcc('M', 'J', 'P', 'G'), kFps,
                         cv::Size(width, height));
  ASSERT_TRUE(writer.isOpened());
  for (int i = 0; i < frames; ++i) {
    const int grey = grey_of(static_cast<std::uint64_t>(i));
    writer.write(cv::Mat(height, width, CV_8UC3, cv::Scalar(grey, grey, grey)));
  }
}

class VideoSourceTest : public testing::Test {
 protected:
  VideoSourceTest() : path(dir / "a.avi"), uri("file://" + path + "?rate=max") {
    write_video(path);
  }

  TempDir dir;
  std::string path;
  std::string uri;
};

// Grabs, retrieves and checks the content; false at the end or on an error.
bool next_frame_is(FrameSource& source, std::uint64_t number) {
  const auto grab = source.grab(1s);
  if (!grab || grab->status != GrabStatus::kFrame) return false;
  EXPECT_EQ(grab->frame.index, number);
  Canvas canvas(grab->frame);
  EXPECT_TRUE(source.retrieve(canvas.view()));
  EXPECT_TRUE(canvas.padding_untouched());
  for (const auto& [x, y] : {std::pair{0u, 0u},
                             {grab->frame.width - 1, 0u},
                             {grab->frame.width - 1, grab->frame.height - 1}}) {
    EXPECT_NEAR(canvas.at(x, y)[1], grey_of(number), 3) << x << ',' << y;
  }
  return true;
}

TEST_F(VideoSourceTest, GivesEveryFrameInOrderThenEnds) {
  const auto source = open_source(uri);
  ASSERT_TRUE(source);
  EXPECT_EQ(source->info().width, 64u);
  EXPECT_EQ(source->info().height, 48u);
  EXPECT_DOUBLE_EQ(source->info().fps, kFps);
  EXPECT_EQ(source->info().frame_count, 20u);
  EXPECT_NEAR(source->info().duration.value_or(0), 2, 1e-6);
  EXPECT_FALSE(source->info().is_live);
  for (std::uint64_t i = 0; i < kFrames; ++i) ASSERT_TRUE(next_frame_is(*source, i)) << i;
  EXPECT_EQ(source->grab(1s)->status, GrabStatus::kEndOfStream);
  EXPECT_EQ(source->grab(1s)->status, GrabStatus::kEndOfStream);
  EXPECT_EQ(source->counters().frames, 20u);
  EXPECT_EQ(source->counters().bytes_copied, 0u);  // straight into the destination
}

// libswscale cannot write such rows: the frame takes a detour, and the counter says so.
TEST_F(VideoSourceTest, WidthsThatTheConverterCannotWriteAreCompleteAndCounted) {
  for (const auto& [width, height] : {std::pair{50, 38}, {54, 34}, {34, 50}, {62, 46}}) {
    write_video(path, width, height);
    const auto source = open_source(uri);
    ASSERT_TRUE(source);
    ASSERT_TRUE(next_frame_is(*source, 0)) << width << 'x' << height;
    EXPECT_EQ(source->counters().bytes_copied, 3u * static_cast<unsigned>(width * height));
  }
}

// A tightly packed slot with nothing behind it; sanitizers watch.
TEST_F(VideoSourceTest, WritesNothingBehindATightDestination) {
  for (const int width : {64, 50}) {
    write_video(path, width, 48);
    const auto source = open_source(uri);
    ASSERT_TRUE(source);
    const auto grab = source->grab(1s);
    ASSERT_EQ(grab->status, GrabStatus::kFrame);
    const auto memory = std::make_unique<std::byte[]>(frame_bytes(grab->frame));
    EXPECT_TRUE(source->retrieve(
        {memory.get(), grab->frame.width, grab->frame.height, std::size_t{3} * grab->frame.width}));
    EXPECT_NEAR(std::to_integer<int>(memory[frame_bytes(grab->frame) - 1]), grey_of(0), 3);
  }
}

TEST_F(VideoSourceTest, AFrameMayBeSkippedByNotRetrievingIt) {
  const auto source = open_source(uri);
  ASSERT_TRUE(source);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(source->grab(1s)->status, GrabStatus::kFrame);
  EXPECT_TRUE(next_frame_is(*source, 5));
}

TEST_F(VideoSourceTest, StartsAtAnotherPointAndLoopsToTheBeginning) {
  const auto source = open_source(uri + "&start=1.7&loop=true");
  ASSERT_TRUE(source);
  EXPECT_TRUE(source->info().loops);
  for (const std::uint64_t expected : {17u, 18u, 19u, 0u, 1u}) {
    ASSERT_TRUE(next_frame_is(*source, expected)) << expected;
  }
  for (int i = 2; i < 60; ++i) ASSERT_EQ(source->grab(1s)->status, GrabStatus::kFrame);
}

TEST_F(VideoSourceTest, CanBeOpenedAgain) {
  const auto source = open_source(uri);
  ASSERT_TRUE(source);
  ASSERT_TRUE(next_frame_is(*source, 0));
  ASSERT_TRUE(source->open());
  ASSERT_TRUE(next_frame_is(*source, 0));
}

TEST_F(VideoSourceTest, PacesAtTheNativeOrAFixedRate) {
  for (const auto& [rate, period] : {std::pair{"native", 100ms}, {"25", 40ms}}) {
    FakeClock clock;
    const auto source = open_source("file://" + path + "?rate=" + rate, {.clock = &clock});
    ASSERT_TRUE(source);
    const Nanoseconds start = clock.now;
    for (int i = 0; i < kFrames; ++i) {
      const auto grab = source->grab(1s);
      ASSERT_EQ(grab->status, GrabStatus::kFrame);
      EXPECT_EQ(grab->frame.stamp_monotonic, (start + i * period).count());
    }
  }
}

TEST_F(VideoSourceTest, ATimeoutBeforeTheDeadlineLosesNoFrame) {
  FakeClock clock;
  const auto source = open_source("file://" + path + "?rate=1", {.clock = &clock});
  ASSERT_TRUE(source);
  ASSERT_TRUE(next_frame_is(*source, 0));
  ASSERT_EQ(source->grab(400ms)->status, GrabStatus::kTimeout);
  ASSERT_EQ(source->grab(400ms)->status, GrabStatus::kTimeout);
  EXPECT_TRUE(next_frame_is(*source, 1));
}

TEST_F(VideoSourceTest, ATruncatedFileGivesItsFramesThenAClearError) {
  std::filesystem::resize_file(path, std::filesystem::file_size(path) * 3 / 4);
  const auto source = open_source(uri);
  ASSERT_TRUE(source);
  std::uint64_t frames = 0;
  Result<Grab> grab = source->grab(1s);
  for (; grab && grab->status != GrabStatus::kEndOfStream; grab = source->grab(1s)) {
    frames += grab->status == GrabStatus::kFrame ? 1 : 0;  // the one that was cut may be bad
  }
  EXPECT_GE(frames, 3u);
  EXPECT_LT(frames, 20u);
  ASSERT_FALSE(grab);
  EXPECT_EQ(grab.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(grab.error().message, HasSubstr("of 20 frames are there"));
  EXPECT_EQ(source->grab(1s).error().code, ErrorCode::kUnavailable);  // lost until open()
  EXPECT_TRUE(source->open());
}

TEST_F(VideoSourceTest, TheSupervisorFailsATruncatedFileAndReopensALoopingOne) {
  std::filesystem::resize_file(path, std::filesystem::file_size(path) * 3 / 4);
  for (const bool loop : {false, true}) {
    FakeClock clock;
    auto source = make_frame_source(uri, {.loop = loop, .clock = &clock});
    ASSERT_TRUE(source);
    std::vector<SourceEvent> events;
    SourceSupervisor supervisor(
        **source, {}, [&](const SourceEvent& event) { events.push_back(event); }, clock);
    std::uint64_t frames = 0;
    for (int calls = 0; calls < 1000 && !supervisor.finished() && frames < 40; ++calls) {
      frames += supervisor.grab(1s, {}).status == GrabStatus::kFrame ? 1 : 0;
    }
    ASSERT_GE(events.size(), 2u);
    EXPECT_EQ(events[0].to, SourceState::kConnected);
    EXPECT_EQ(events[1].to, loop ? SourceState::kReconnecting : SourceState::kFailed);
    EXPECT_THAT(events[1].reason, HasSubstr("is cut off"));
    EXPECT_EQ(supervisor.counters().reconnects > 0, loop);
  }
}

// Damage in the middle must neither crash nor hang, whatever the decoder makes of it.
TEST_F(VideoSourceTest, DamagedBytesNeverCrash) {
  std::string bytes;
  {
    std::ifstream file(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  for (std::size_t salt = 0; salt < 30; ++salt) {
    std::string damaged = bytes;
    for (std::size_t at = 100 + salt * 7; at < damaged.size(); at += 97 + 31 * salt) {
      damaged[at] = static_cast<char>(damaged[at] ^ 0x5a);
    }
    write_file(path, damaged);
    auto source = make_frame_source(uri, {});
    ASSERT_TRUE(source);
    if (!(*source)->open()) continue;
    int calls = 0;
    for (auto grab = (*source)->grab(1s); grab && grab->status != GrabStatus::kEndOfStream;
         grab = (*source)->grab(1s)) {
      ASSERT_LT(++calls, 1000);
      if (grab->status != GrabStatus::kFrame) continue;
      ASSERT_LE(frame_bytes(grab->frame), 1u << 30);
      Canvas canvas(grab->frame);
      static_cast<void>((*source)->retrieve(canvas.view()));
    }
  }
}

TEST_F(VideoSourceTest, OpeningErrorsNameTheCause) {
  write_file(dir / "empty.avi", "");
  write_file(dir / "text.avi", "This is no video, whatever its name says. It is only text.\n");
  write_file(dir / "list.m3u8", "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n");
  struct Case {
    std::string uri;
    ErrorCode code;
    const char* expected;
  };
  for (const Case& wrong :
       {Case{"file://" + (dir / "absent.avi"), ErrorCode::kNotFound, "absent.avi: no such file"},
        Case{"file://" + dir.path().string(), ErrorCode::kInvalidArgument, "images://"},
        Case{"file://" + (dir / "empty.avi"), ErrorCode::kCorrupt, "is empty"},
        Case{"file://" + (dir / "text.avi"), ErrorCode::kCorrupt, "cannot be opened"},
        Case{"file://" + (dir / "list.m3u8"), ErrorCode::kCorrupt, "list.m3u8"},
        Case{"file://" + path + "?start=5", ErrorCode::kInvalidArgument, "below the duration, 2 s"},
        Case{"rtsp://user:secret@127.0.0.1:1/x", ErrorCode::kUnavailable, "Connection refused"}}) {
    auto source = make_frame_source(wrong.uri, {});
    ASSERT_TRUE(source);
    const auto opened = (*source)->open();
    ASSERT_FALSE(opened) << wrong.uri;
    EXPECT_EQ(opened.error().code, wrong.code) << opened.error().message;
    EXPECT_THAT(opened.error().message, HasSubstr(wrong.expected));
    EXPECT_THAT(opened.error().message, testing::Not(HasSubstr("secret")));
  }
}

TEST_F(VideoSourceTest, NothingIsPrintedToStderr) {
  write_file(dir / "text.avi", std::string(5000, 'x'));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) * 3 / 4);
  testing::internal::CaptureStderr();
  for (const std::string& location : {path, dir / "text.avi"}) {
    auto source = make_frame_source("file://" + location + "?rate=max", {});
    if (!(*source)->open()) continue;
    for (auto grab = (*source)->grab(1s); grab && grab->status == GrabStatus::kFrame;) {
      grab = (*source)->grab(1s);
    }
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace fovea::frames
