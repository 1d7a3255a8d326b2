// Where pictures land in the network's input.
#include "nodes/preprocess/placement.hpp"

#include <random>

#include <gtest/gtest.h>

namespace fovea {
namespace {

// Values computed with torchvision: Resize(size) and CenterCrop(size) of a PIL image.
TEST(Placement, CentreCropRoundsLikeTorchvision) {
  const auto expect = [](std::uint32_t width, std::uint32_t height, std::uint32_t size,
                         std::uint32_t new_width, std::uint32_t new_height, std::uint32_t left,
                         std::uint32_t top) {
    const msgs::LetterboxTransform expected{.source_width = width,
                                            .source_height = height,
                                            .network_width = size,
                                            .network_height = size,
                                            .new_width = new_width,
                                            .new_height = new_height,
                                            .crop_left = left,
                                            .crop_top = top};
    const auto t = place(ResizeMode::kCentreCrop, width, height, size, size);
    EXPECT_EQ(t, expected) << width << "x" << height << " became " << t.new_width << "x"
                           << t.new_height << " at " << t.crop_left << ", " << t.crop_top;
    EXPECT_TRUE(t.valid()) << width << "x" << height;
  };
  expect(1920, 1080, 224, 398, 224, 87, 0);  // 398.2
  expect(1080, 1920, 224, 224, 398, 0, 87);
  expect(640, 480, 224, 298, 224, 37, 0);  // 298.67 is cut down
  expect(427, 640, 224, 224, 335, 0, 56);  // 55.5 rounds to even, up
  expect(225, 224, 224, 225, 224, 0, 0);   // 0.5 rounds to even, down
  expect(227, 224, 224, 227, 224, 2, 0);   // 1.5 rounds to even, up
  expect(229, 224, 224, 229, 224, 2, 0);   // 2.5 rounds to even, down
  expect(224, 224, 224, 224, 224, 0, 0);
  expect(1, 50, 224, 224, 11200, 0, 5488);
  expect(4000, 3, 32, 42666, 32, 21317, 0);
  expect(32768, 1, 32768, 1U << 30, 32768, (1U << 29) - (1U << 14), 0);
}

TEST(Placement, AllOfThePictureGoesIntoAnInputThatIsNotSquare) {
  EXPECT_EQ(place(ResizeMode::kCentreCrop, 1920, 1080, 320, 192),
            place(ResizeMode::kStretch, 1920, 1080, 320, 192));
}

TEST(Placement, StretchFillsTheInput) {
  const auto t = place(ResizeMode::kStretch, 1920, 1080, 640, 480);
  EXPECT_EQ(t, (msgs::LetterboxTransform{.source_width = 1920,
                                         .source_height = 1080,
                                         .network_width = 640,
                                         .network_height = 480,
                                         .new_width = 640,
                                         .new_height = 480}));
  EXPECT_FLOAT_EQ(t.source_x(320), 960);
  EXPECT_FLOAT_EQ(t.source_y(120), 270);
}

// int(side * min(...)), as YOLOX's preproc() has it.
TEST(Placement, ATopLeftLetterboxCutsDownToWholePixels) {
  const auto t = place(ResizeMode::kLetterboxTopLeft, 810, 1080, 640, 640);
  EXPECT_EQ(t, (msgs::LetterboxTransform{.source_width = 810,
                                         .source_height = 1080,
                                         .network_width = 640,
                                         .network_height = 640,
                                         .new_width = 480,
                                         .new_height = 640}));
  EXPECT_EQ(place(ResizeMode::kLetterboxTopLeft, 500, 375, 416, 416).new_height, 312U);
  EXPECT_EQ(place(ResizeMode::kLetterboxTopLeft, 333, 500, 640, 640).new_width, 426U);  // 426.24
  EXPECT_EQ(place(ResizeMode::kLetterboxTopLeft, 427, 640, 416, 416).new_width, 277U);  // 277.55
}

TEST(Placement, IsValidForEverySizeAndMode) {
  std::mt19937 random(5);
  std::uniform_int_distribution<std::uint32_t> exponent(0, 15);
  const auto side = [&] {
    const std::uint32_t most = 1U << exponent(random);
    return std::uniform_int_distribution<std::uint32_t>(1, most)(random);
  };
  for (int trial = 0; trial < 20000; ++trial) {
    const std::uint32_t width = side(), height = side(), columns = side();
    const std::uint32_t rows = trial % 2 == 0 ? columns : side();
    for (const ResizeMode mode : {ResizeMode::kLetterbox, ResizeMode::kLetterboxTopLeft,
                                  ResizeMode::kStretch, ResizeMode::kCentreCrop}) {
      const auto t = place(mode, width, height, columns, rows);
      ASSERT_TRUE(t.valid()) << width << "x" << height << " -> " << columns << "x" << rows
                             << " mode " << static_cast<int>(mode);
      const bool fills = t.new_width >= columns && t.new_height >= rows;
      ASSERT_TRUE(fills || mode == ResizeMode::kLetterbox || mode == ResizeMode::kLetterboxTopLeft);
    }
  }
}

}  // namespace
}  // namespace fovea
