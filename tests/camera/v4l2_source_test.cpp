// Absent and wrong devices everywhere; real capture where the kernel offers a camera (vivid,
// v4l2loopback).
#include "nodes/base/file_io.hpp"
#include "nodes/camera/v4l2_source.hpp"

#include <filesystem>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/camera/camera_testing.hpp"

namespace fovea::frames {
namespace {

Error open_error(const std::string& uri) {
  auto source = make_frame_source(uri, {});
  if (!source) return source.error();
  const auto opened = (*source)->open();
  return opened ? Error{ErrorCode::kInternal, "opened"} : opened.error();
}

TEST(V4l2Source, AnAbsentDeviceIsNotFound) {
  const Error error = open_error("v4l2:///dev/video-that-is-not-there");
  EXPECT_EQ(error.code, ErrorCode::kNotFound);
  EXPECT_THAT(error.message,
              testing::HasSubstr("v4l2:///dev/video-that-is-not-there: No such file"));
}

TEST(V4l2Source, AFileThatIsNoCameraIsRefused) {
  TempDir dir;
  write_file(dir / "file", "x");
  for (const std::string& path : {std::string("/dev/null"), dir / "file"}) {
    const Error error = open_error("v4l2://" + path);
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message, testing::HasSubstr("is no video4linux2 device"));
  }
}

TEST(V4l2Source, FormatNames) {
  EXPECT_EQ(pixel_format_from_name("yuyv"), V4l2Format::kYuyv);
  EXPECT_EQ(pixel_format_from_name("YUYV"), std::nullopt);
}

TEST(V4l2Source, CapturesFromAVirtualCamera) {
  for (int i = 0; i < 64; ++i) {
    const std::string path = "/dev/video" + std::to_string(i);
    if (!std::filesystem::exists(path)) continue;
    auto source = make_frame_source("v4l2://" + path, {});
    ASSERT_TRUE(source);
    if (!(*source)->open()) continue;  // an output or metadata node
    for (int frame = 0; frame < 10; ++frame) {
      const auto grab = (*source)->grab(10s);
      ASSERT_TRUE(grab) << grab.error().message;
      ASSERT_EQ(grab->status, GrabStatus::kFrame);
      EXPECT_EQ(grab->frame.width, (*source)->info().width);
      Canvas canvas(grab->frame);
      const auto retrieved = (*source)->retrieve(canvas.view());
      ASSERT_TRUE(retrieved) << retrieved.error().message;
      EXPECT_TRUE(canvas.padding_untouched());
    }
    return;
  }
  GTEST_SKIP()
      << "NOTICE: no /dev/videoN can capture here; load the kernel's vivid module to run this";
}

}  // namespace
}  // namespace fovea::frames
