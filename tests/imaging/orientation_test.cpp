// Which way is up: Exif in every format that has it, and a video's display matrix.
#include "nodes/imaging/orientation.hpp"

#include <gtest/gtest.h>

#include "tests/imaging/pictures.hpp"

namespace fovea::imaging {
namespace {

TEST(Orientation, EveryValueTurnsOddSizesWithPaddedRowsAsViewersDo) {
  for (int value = 1; value <= 8; ++value) {
    cv::Mat stored(131, 77, CV_8UC3);
    cv::randu(stored, 0, 256);
    const cv::Mat expected = as_shown(stored, value);
    cv::Mat wide(expected.rows, expected.cols + 5, CV_8UC3, cv::Scalar(7, 7, 7));
    place_upright(
        reinterpret_cast<const std::byte*>(stored.data), stored.step,
        orientation_from_exif(static_cast<std::uint32_t>(value)),
        {reinterpret_cast<std::byte*>(wide.data), static_cast<std::uint32_t>(expected.cols),
         static_cast<std::uint32_t>(expected.rows), wide.step});
    EXPECT_EQ(difference(wide.colRange(0, expected.cols).clone(), expected), 0) << value;
    const cv::Mat behind = wide.colRange(expected.cols, wide.cols).clone();
    EXPECT_EQ(difference(behind, cv::Mat(behind.size(), CV_8UC3, cv::Scalar(7, 7, 7))), 0)
        << "orientation " << value << " wrote behind its rows";
  }
}

TEST(Orientation, AValueThatExifDoesNotHaveIsUpright) {
  for (const std::uint32_t value : {0U, 9U, 255U, 65535U}) {
    EXPECT_EQ(orientation_from_exif(value), Orientation::kUpright);
  }
}

TEST(Orientation, AJpegOfEitherByteOrderComesUpright) {
  const cv::Mat stored = quarters();
  for (int value = 1; value <= 8; ++value) {
    for (const bool little_endian : {false, true}) {
      const auto decoded =
          decode(with_jpeg_exif(encode(".jpg", stored), exif_block(value, little_endian)));
      ASSERT_TRUE(decoded) << decoded.error().message;
      EXPECT_LE(difference(decoded->image, as_shown(decode(encode(".jpg", stored))->image, value)),
                0)
          << value;
      EXPECT_EQ(decoded->copied, value == 1 ? 0U : 3U * 48 * 32) << value;
    }
  }
}

TEST(Orientation, APngWithExifComesUpright) {
  const cv::Mat stored = quarters();
  for (int value = 1; value <= 8; ++value) {
    const auto decoded = decode(with_png_exif(encode(".png", stored), exif_block(value, false)));
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(difference(decoded->image, as_shown(stored, value)), 0) << value;
  }
}

TEST(Orientation, AWebpWithExifComesUpright) {
  const cv::Mat stored = quarters();
  const File webp = encode(".webp", stored, {cv::IMWRITE_WEBP_QUALITY, 101});
  for (int value = 1; value <= 8; ++value) {
    const auto decoded = decode(with_webp_exif(webp, exif_block(value, true), 48, 32));
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(difference(decoded->image, as_shown(stored, value)), 0) << value;
  }
}

TEST(Orientation, ATiffComesUpright) {
  const cv::Mat stored = quarters();
  for (std::uint32_t value = 1; value <= 8; ++value) {
    const auto decoded = decode(tiff_of(48, 32, 3, 8, 2, value, rgb_bytes(stored)));
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(difference(decoded->image, as_shown(stored, static_cast<int>(value))), 0) << value;
  }
}

TEST(Orientation, ExifThatPointsNowhereIsUpright) {
  const File jpeg = encode(".jpg", quarters());
  const std::string whole = exif_block(6, false);
  for (std::size_t length = 0; length + 8 < whole.size(); ++length) {
    const auto info = inspect_picture(with_jpeg_exif(jpeg, whole.substr(0, length)));
    ASSERT_TRUE(info) << info.error().message;
    EXPECT_EQ(info->orientation, Orientation::kUpright) << length;
  }
  std::string far = whole;
  far[7] = '\xf0';  // the directory lies behind the block
  EXPECT_EQ(inspect_picture(with_jpeg_exif(jpeg, far))->orientation, Orientation::kUpright);
}

// Values as FFmpeg and phones write them, 16.16 fixed point.
TEST(Orientation, ADisplayMatrixIsOneOfTheEightOrNone) {
  constexpr std::int32_t kOne = 1 << 16;
  const auto of = [](std::int32_t a, std::int32_t b, std::int32_t c, std::int32_t d) {
    const std::array<std::int32_t, 9> matrix{a, b, 0, c, d, 0, 0, 0, 1 << 30};
    return orientation_from_matrix(matrix);
  };
  EXPECT_EQ(of(kOne, 0, 0, kOne), Orientation::kUpright);
  EXPECT_EQ(of(-kOne, 0, 0, kOne), Orientation::kMirror);
  EXPECT_EQ(of(-kOne, 0, 0, -kOne), Orientation::kHalfTurn);
  EXPECT_EQ(of(kOne, 0, 0, -kOne), Orientation::kFlip);
  EXPECT_EQ(of(0, kOne, kOne, 0), Orientation::kTranspose);
  EXPECT_EQ(of(0, kOne, -kOne, 0), Orientation::kQuarterTurn);
  EXPECT_EQ(of(0, -kOne, -kOne, 0), Orientation::kTransverse);
  EXPECT_EQ(of(0, -kOne, kOne, 0), Orientation::kThreeQuarterTurn);
  EXPECT_EQ(of(46341, 46341, -46341, 46341), std::nullopt);  // 45 degrees
  EXPECT_EQ(of(0, 0, 0, 0), std::nullopt);
}

}  // namespace
}  // namespace fovea::imaging
