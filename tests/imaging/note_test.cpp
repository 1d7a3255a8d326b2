// A picture file says which program made it, and stays the same picture.
#include <gtest/gtest.h>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>

#include "nodes/imaging/picture.hpp"
#include "nodes/imaging/picture_note.hpp"
#include "tests/imaging/pictures.hpp"

namespace fovea::imaging {
namespace {

using Bytes = std::vector<std::byte>;

Bytes encoded(bool as_jpeg) {
  const cv::Mat image = quarters(40, 30);
  const auto* first = reinterpret_cast<const std::byte*>(image.data);
  const Pixels pixels{{first, image.total() * 3}, 40, 30, 120, msgs::Encoding::kBgr8};
  Bytes file;
  const auto done = as_jpeg ? encode_jpeg(pixels, 90, file) : encode_png(pixels, file);
  EXPECT_TRUE(done);
  return file;
}

cv::Mat decoded(const Bytes& file) {
  const auto info = inspect_picture(file);
  EXPECT_TRUE(info);
  cv::Mat image(30, 40, CV_8UC3);
  const auto read =
      decode_picture(file, *info, {reinterpret_cast<std::byte*>(image.data), 40, 30, 120});
  EXPECT_TRUE(read) << read.error().message;
  return image;
}

TEST(PictureNote, IsFoundAndThePixelsStay) {
  for (const bool as_jpeg : {true, false}) {
    const Bytes plain = encoded(as_jpeg);
    EXPECT_FALSE(has_note(plain, "made by me"));
    Bytes noted = plain;
    add_note(noted, "made by me");
    EXPECT_TRUE(has_note(noted, "made by me"));
    EXPECT_FALSE(has_note(noted, "made by you"));
    EXPECT_FALSE(has_note(noted, "made by"));
    EXPECT_TRUE(has_note({noted.data(), std::min(noted.size(), kNoteBytes)}, "made by me"));
    EXPECT_EQ(cv::norm(decoded(plain), decoded(noted), cv::NORM_INF), 0) << as_jpeg;
  }
}

TEST(PictureNote, OtherBytesHaveNoneAndGetNone) {
  Bytes noted = encoded(true);
  add_note(noted, "x");
  for (std::size_t size = 0; size < 30; ++size) {
    EXPECT_FALSE(has_note({noted.data(), std::min<std::size_t>(size, 20)}, "x")) << size;
  }
  Bytes text(10, std::byte{'a'});
  add_note(text, "x");
  EXPECT_EQ(text, Bytes(10, std::byte{'a'}));
  // A JPEG whose first header reaches beyond its end.
  Bytes cut{std::byte{0xff}, std::byte{0xd8}, std::byte{0xff},
            std::byte{0xe0}, std::byte{0xff}, std::byte{0xff}};
  add_note(cut, "x");
  EXPECT_EQ(cut.size(), 6U);
}

}  // namespace
}  // namespace fovea::imaging
