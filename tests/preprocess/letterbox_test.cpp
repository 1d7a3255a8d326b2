// Letterbox against cv::resize + copyMakeBorder, its geometry, and inputs that lie about their
// size.
#include "nodes/preprocess/letterbox.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using msgs::Encoding;

struct Case {
  std::uint32_t source_width;
  std::uint32_t source_height;
  std::uint32_t network_width = 640;
  std::uint32_t network_height = 640;
};

constexpr Case kCases[] = {
    {1, 1},           {1, 2},         {2, 1},           {1, 1000},           {1000, 1},
    {3, 5},           {17, 13},       {639, 641},       {640, 640},          {641, 639},
    {640, 480},       {768, 576},     {1280, 720},      {1920, 1080},        {1079, 1919},
    {5000, 7},        {7, 5000},      {33, 33, 7, 5},   {100, 50, 1, 1},     {9, 9, 3, 200},
    {320, 240, 8, 6}, {12, 7, 16, 9}, {13, 11, 96, 31}, {640, 480, 320, 320}};

Letterbox make(std::uint32_t width, std::uint32_t height, bool force_scalar = false) {
  auto letterbox = Letterbox::create(
      {.network_width = width, .network_height = height, .pad = 114, .force_scalar = force_scalar});
  if (!letterbox) std::abort();
  return std::move(*letterbox);
}

int type_of(Encoding encoding) { return encoding == Encoding::kMono8 ? CV_8UC1 : CV_8UC3; }

// Random pixels in a wider matrix, so that the step differs from the row.
cv::Mat random_image(std::uint32_t width, std::uint32_t height, Encoding encoding, int extra = 0) {
  cv::Mat wide(static_cast<int>(height), static_cast<int>(width) + extra, type_of(encoding));
  cv::randu(wide, 0, 256);
  return wide.colRange(0, static_cast<int>(width));
}

ImageView view_of(const cv::Mat& image, Encoding encoding) {
  const std::size_t bytes = image.step[0] * (static_cast<std::size_t>(image.rows) - 1) +
                            static_cast<std::size_t>(image.cols) * image.elemSize();
  return {.pixels = {reinterpret_cast<const std::byte*>(image.data), bytes},
          .width = static_cast<std::uint32_t>(image.cols),
          .height = static_cast<std::uint32_t>(image.rows),
          .step = static_cast<std::uint32_t>(image.step[0]),
          .encoding = encoding};
}

cv::Mat opencv_letterbox(const cv::Mat& image, Encoding encoding,
                         const msgs::LetterboxTransform& t) {
  cv::Mat rgb, scaled, padded;
  if (encoding == Encoding::kMono8) {
    cv::cvtColor(image, rgb, cv::COLOR_GRAY2RGB);
  } else if (encoding == Encoding::kBgr8) {
    cv::cvtColor(image, rgb, cv::COLOR_BGR2RGB);
  } else {
    rgb = image;
  }
  cv::resize(rgb, scaled, {static_cast<int>(t.new_width), static_cast<int>(t.new_height)}, 0, 0,
             cv::INTER_LINEAR);
  cv::copyMakeBorder(scaled, padded, static_cast<int>(t.pad_top),
                     static_cast<int>(t.network_height - t.pad_top - t.new_height),
                     static_cast<int>(t.pad_left),
                     static_cast<int>(t.network_width - t.pad_left - t.new_width),
                     cv::BORDER_CONSTANT, {114, 114, 114});
  return padded;
}

int max_difference(const std::vector<std::byte>& ours, const cv::Mat& theirs) {
  int worst = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<int>(ours[i]) - static_cast<int>(theirs.data[i])));
  }
  return worst;
}

TEST(Letterbox, IsWithinOneOfOpencvForEverySizeEncodingAndStep) {
  for (const Case& c : kCases) {
    for (const Encoding encoding : {Encoding::kBgr8, Encoding::kRgb8, Encoding::kMono8}) {
      for (const int extra : {0, 5}) {
        const cv::Mat image = random_image(c.source_width, c.source_height, encoding, extra);
        Letterbox letterbox = make(c.network_width, c.network_height);
        std::vector<std::byte> tensor(letterbox.output_bytes(), std::byte{1});
        const auto transform = letterbox.run(view_of(image, encoding), tensor);
        ASSERT_TRUE(transform) << transform.error().message;
        ASSERT_TRUE(transform->valid());
        ASSERT_LE(max_difference(tensor, opencv_letterbox(image, encoding, *transform)), 1)
            << c.source_width << "x" << c.source_height << " -> " << c.network_width << "x"
            << c.network_height << " " << msgs::enum_name(encoding) << " extra " << extra;
      }
    }
  }
}

TEST(Letterbox, StretchIsWithinOneOfOpencv) {
  for (const Case& c : kCases) {
    for (const Encoding encoding : {Encoding::kBgr8, Encoding::kRgb8, Encoding::kMono8}) {
      const cv::Mat image = random_image(c.source_width, c.source_height, encoding, 5);
      auto stretch = Letterbox::create({.network_width = c.network_width,
                                        .network_height = c.network_height,
                                        .resize = ResizeMode::kStretch});
      ASSERT_TRUE(stretch);
      std::vector<std::byte> tensor(stretch->output_bytes());
      const auto transform = stretch->run(view_of(image, encoding), tensor);
      ASSERT_TRUE(transform) << transform.error().message;
      ASSERT_LE(max_difference(tensor, opencv_letterbox(image, encoding, *transform)), 1)
          << c.source_width << "x" << c.source_height << " " << msgs::enum_name(encoding);
    }
  }
}

TEST(Letterbox, VectorisedPathGivesTheBitsOfTheScalarOne) {
  for (const Case& c : kCases) {
    const cv::Mat image = random_image(c.source_width, c.source_height, Encoding::kBgr8);
    std::vector<std::byte> outputs[2];
    for (const bool scalar : {false, true}) {
      Letterbox letterbox = make(c.network_width, c.network_height, scalar);
      outputs[scalar].resize(letterbox.output_bytes());
      ASSERT_TRUE(letterbox.run(view_of(image, Encoding::kBgr8), outputs[scalar]));
    }
    ASSERT_EQ(outputs[0], outputs[1]) << c.source_width << "x" << c.source_height;
  }
}

TEST(Letterbox, CopiesPixelsThatAreNotScaled) {
  for (const Encoding encoding : {Encoding::kBgr8, Encoding::kRgb8, Encoding::kMono8}) {
    const cv::Mat image = random_image(64, 48, encoding, 3);
    for (const std::uint32_t height : {48u, 61u}) {
      Letterbox letterbox = make(64, height);
      std::vector<std::byte> tensor(letterbox.output_bytes());
      const auto t = letterbox.run(view_of(image, encoding), tensor);
      ASSERT_TRUE(t);
      EXPECT_EQ(max_difference(tensor, opencv_letterbox(image, encoding, *t)), 0)
          << msgs::enum_name(encoding);
    }
  }
}

TEST(Letterbox, KeepsEveryFlatColourExactly) {
  Letterbox letterbox = make(97, 61);
  std::vector<std::byte> tensor(letterbox.output_bytes());
  for (int value = 0; value < 256; ++value) {
    const cv::Mat image(37, 61, CV_8UC1, cv::Scalar(value));
    const auto t = letterbox.run(view_of(image, Encoding::kMono8), tensor);
    ASSERT_TRUE(t);
    const std::size_t left = t->pad_left * std::size_t{3};
    for (std::size_t i = left; i < left + t->new_width * std::size_t{3}; ++i) {
      ASSERT_EQ(static_cast<int>(tensor[t->pad_top * std::size_t{97} * 3 + i]), value);
    }
  }
}

TEST(Letterbox, WritesNothingBehindTheTensor) {
  const cv::Mat image = random_image(50, 20, Encoding::kBgr8);
  Letterbox letterbox = make(33, 17);
  std::vector<std::byte> tensor(letterbox.output_bytes() + 64, std::byte{0xa5});
  ASSERT_TRUE(letterbox.run(view_of(image, Encoding::kBgr8), tensor));
  EXPECT_TRUE(std::all_of(tensor.end() - 64, tensor.end(),
                          [](std::byte b) { return b == std::byte{0xa5}; }));
}

// Values computed with Ultralytics' LetterBox formulas in Python, but for the last, which they make
// empty.
TEST(Letterbox, RoundsSizesAndPaddingLikeUltralytics) {
  const Letterbox letterbox = make(640, 640);
  const auto expect = [&](std::uint32_t width, std::uint32_t height, std::uint32_t new_width,
                          std::uint32_t new_height, std::uint32_t left, std::uint32_t top) {
    const auto t = letterbox.transform(width, height);
    EXPECT_EQ(t.new_width, new_width) << width << "x" << height;
    EXPECT_EQ(t.new_height, new_height) << width << "x" << height;
    EXPECT_EQ(t.pad_left, left) << width << "x" << height;
    EXPECT_EQ(t.pad_top, top) << width << "x" << height;
  };
  expect(1920, 1080, 640, 360, 0, 140);
  expect(768, 576, 640, 480, 0, 80);
  expect(640, 427, 640, 427, 0, 106);  // odd padding: 106 above, 107 below
  expect(427, 640, 427, 640, 106, 0);
  expect(1280, 3, 640, 2, 0, 319);    // 1.5 rounds to even, up
  expect(1280, 5, 640, 2, 0, 319);    // 2.5 rounds to even, down
  expect(320, 240, 640, 480, 0, 80);  // scaled up
  expect(10000, 1, 640, 1, 0, 319);   // 319.5 - 0.1 rounds down
}

TEST(Letterbox, MapsPointsBackWithinHalfAPixel) {
  std::mt19937 random(3);
  std::uniform_int_distribution<std::uint32_t> side(1, 4000);
  std::uniform_int_distribution<std::uint32_t> network_side(32, 1280);
  std::uniform_real_distribution<float> unit(0, 1);
  for (int trial = 0; trial < 20000; ++trial) {
    const Letterbox letterbox = make(network_side(random), network_side(random));
    const auto t = letterbox.transform(side(random), side(random));
    ASSERT_TRUE(t.valid());
    const float x = unit(random) * static_cast<float>(t.source_width);
    const float y = unit(random) * static_cast<float>(t.source_height);
    const float network_x =
        x * static_cast<float>(t.new_width) / static_cast<float>(t.source_width) +
        static_cast<float>(t.pad_left);
    const float network_y =
        y * static_cast<float>(t.new_height) / static_cast<float>(t.source_height) +
        static_cast<float>(t.pad_top);
    EXPECT_LE(network_x, static_cast<float>(t.network_width));
    EXPECT_LE(network_y, static_cast<float>(t.network_height));
    EXPECT_NEAR(t.source_x(network_x), x, 0.5f);
    EXPECT_NEAR(t.source_y(network_y), y, 0.5f);
  }
}

// Where a bright pixel lands is where the transform says: the picture and its boxes use one
// geometry.
TEST(Letterbox, MovesPixelsWhereTheTransformSays) {
  Letterbox letterbox = make(320, 320);
  std::vector<std::byte> tensor(letterbox.output_bytes());
  for (const auto& [width, height] : {std::pair{160, 120}, {200, 90}, {61, 160}}) {
    cv::Mat image(height, width, CV_8UC1, cv::Scalar(0));
    const int source_x = width / 3;
    const int source_y = height / 2;
    image.at<std::uint8_t>(source_y, source_x) = 255;
    const auto t = letterbox.run(view_of(image, Encoding::kMono8), tensor);
    ASSERT_TRUE(t);
    double weight = 0, sum_x = 0, sum_y = 0;
    for (std::uint32_t y = t->pad_top; y < t->pad_top + t->new_height; ++y) {
      for (std::uint32_t x = t->pad_left; x < t->pad_left + t->new_width; ++x) {
        const auto value = static_cast<double>(tensor[(std::size_t{y} * 320 + x) * 3]);
        weight += value;
        sum_x += value * (x + 0.5);
        sum_y += value * (y + 0.5);
      }
    }
    ASSERT_GT(weight, 0);
    EXPECT_NEAR(t->source_x(static_cast<float>(sum_x / weight)), source_x + 0.5, 0.25);
    EXPECT_NEAR(t->source_y(static_cast<float>(sum_y / weight)), source_y + 0.5, 0.25);
  }
}

TEST(Letterbox, SeveralCameraSizesTakeTurnsWithoutAllocating) {
  Letterbox letterbox = make(640, 640);
  std::vector<std::byte> tensor(letterbox.output_bytes());
  std::vector<cv::Mat> images;
  for (std::uint32_t i = 0; i < Letterbox::kMaxPlans; ++i) {
    images.push_back(random_image(100 + 7 * i, 90 + 3 * i, Encoding::kBgr8));
  }
  const test::AllocationGuard first_use;
  for (const cv::Mat& image : images) {
    ASSERT_TRUE(letterbox.run(view_of(image, Encoding::kBgr8), tensor));
  }
  EXPECT_GT(first_use.count(), 0u);  // the guard can count
  const test::AllocationGuard guard;
  bool ok = true;
  for (int round = 0; round < 2; ++round) {
    for (const cv::Mat& image : images) {
      ok = ok && letterbox.run(view_of(image, Encoding::kBgr8), tensor).has_value();
    }
  }
  EXPECT_EQ(guard.count(), 0u);
  EXPECT_TRUE(ok);
}

// A small gray image first, so that neither its plan nor its row buffer fits the colour one.
TEST(Letterbox, CamerasOfOneSizeButDifferentEncodingsDoNotMix) {
  Letterbox letterbox = make(96, 96);
  std::vector<std::byte> tensor(letterbox.output_bytes());
  for (const Encoding encoding :
       {Encoding::kMono8, Encoding::kBgr8, Encoding::kRgb8, Encoding::kMono8}) {
    const cv::Mat image = random_image(120, 70, encoding);
    const auto t = letterbox.run(view_of(image, encoding), tensor);
    ASSERT_TRUE(t);
    EXPECT_LE(max_difference(tensor, opencv_letterbox(image, encoding, *t)), 1)
        << msgs::enum_name(encoding);
  }
}

TEST(Letterbox, ForgetsTheOldestSizeAndStaysRight) {
  Letterbox letterbox = make(64, 64);
  std::vector<std::byte> tensor(letterbox.output_bytes());
  for (std::uint32_t i = 0; i < 3 * Letterbox::kMaxPlans; ++i) {
    const cv::Mat image = random_image(10 + i, 200 - i, Encoding::kBgr8);
    const auto t = letterbox.run(view_of(image, Encoding::kBgr8), tensor);
    ASSERT_TRUE(t);
    ASSERT_LE(max_difference(tensor, opencv_letterbox(image, Encoding::kBgr8, *t)), 1);
  }
}

TEST(Letterbox, RefusesImagesThatDoNotFitTheirPixels) {
  Letterbox letterbox = make(64, 64);
  std::vector<std::byte> tensor(letterbox.output_bytes());
  std::vector<std::byte> pixels(100 * 30);
  const ImageView good{
      .pixels = pixels, .width = 33, .height = 30, .step = 100, .encoding = Encoding::kBgr8};
  ASSERT_TRUE(letterbox.run(good, tensor));
  const auto refuse = [&](auto change, const char* text) {
    ImageView bad = good;
    change(bad);
    const auto result = letterbox.run(bad, tensor);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
  };
  refuse([](ImageView& v) { v.width = 0; }, "image is 0x30");
  refuse([](ImageView& v) { v.height = 0; }, "image is 33x0");
  refuse([](ImageView& v) { v.width = 0xffffffff; }, "4294967295");
  refuse([](ImageView& v) { v.height = 0xffffffff; }, "4294967295");
  refuse([](ImageView& v) { v.width = 34; }, "step is 100");
  refuse([](ImageView& v) { v.step = 0xffffffff; }, "needs");
  refuse([](ImageView& v) { v.height = 31; }, "needs 3099");
  refuse([](ImageView& v) { v.pixels = v.pixels.first(100 * 29 + 98); }, "needs 2999");
  refuse([](ImageView& v) { v.encoding = static_cast<Encoding>(99); }, "encoding is 99");

  const auto small = letterbox.run(good, std::span(tensor).first(tensor.size() - 1));
  ASSERT_FALSE(small);
  EXPECT_NE(small.error().message.find("12287"), std::string::npos) << small.error().message;
}

TEST(Letterbox, RefusesNetworkSidesOutOfRange) {
  EXPECT_FALSE(Letterbox::create({.network_width = 0}));
  EXPECT_FALSE(Letterbox::create({.network_height = Letterbox::kMaxSide + 1}));
  EXPECT_FALSE(make(64, 64).transform(0, 5).valid());
  EXPECT_FALSE(make(64, 64).transform(5, Letterbox::kMaxSide + 1).valid());
}

TEST(Letterbox, NamesItsParametersForCacheKeys) {
  EXPECT_EQ(make(640, 480).parameters(), "letterbox 640x480 pad 114 bilinear rgb u8");
}

}  // namespace
}  // namespace fovea
