// Masks, from raw maps to run lengths of the picture.
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/postprocess/postprocessor.hpp"
#include "tests/postprocess/task_heads.hpp"

namespace fovea {
namespace {

using namespace test;  // NOLINT: heads and what is in them

// The pixels of a mask, [source_height][source_width].
std::vector<std::vector<bool>> pixels_of(const msgs::InstanceMask2DArray& masks,
                                         std::size_t number) {
  std::vector<std::vector<bool>> pixels(masks.source_height, std::vector<bool>(masks.source_width));
  const msgs::InstanceMask2D& instance = masks.instances[number];
  std::size_t pixel = 0;
  for (std::uint32_t i = 0; i < instance.run_count; ++i) {
    const std::uint32_t run = masks.runs[instance.first_run + i];
    for (std::uint32_t k = 0; k < run; ++k, ++pixel) {
      pixels.at(pixel % masks.source_height).at(pixel / masks.source_height) = i % 2 == 1;
    }
  }
  EXPECT_EQ(pixel, std::size_t{masks.source_width} * masks.source_height);
  return pixels;
}

// The first prototype grows by 1 a cell to the right and is 0 between cells 19 and 20; the second one
// is 1 everywhere.
Head segment_head(const msgs::ModelInfo& model) {
  Head head = quiet_head(model);
  for (std::int64_t y = 0; y < 40; ++y) {
    for (std::int64_t x = 0; x < 40; ++x) {
      at(head, "proto", y, x)[0] = static_cast<float>(x) - 19.5f;
      at(head, "proto", y, x)[1] = 1;
    }
  }
  return head;
}

TEST(Masks, AreCutToTheirBoxWhereThePrototypesAreAboveZero) {
  const auto model = segment_model();
  Head head = segment_head(model);
  put(head, 9, 9, {4, 4, 4, 4}, 1, 4, "msk0", {1, 0});  // source 88..216 x 48..176, x > 160
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  const auto found = std::make_unique<msgs::InstanceMask2DArray>();
  postprocessor.masks(*found);
  ASSERT_EQ(found->instances.size(), 1u);
  EXPECT_EQ(found->truncated, 0u);
  const auto pixels = pixels_of(*found, 0);
  for (std::size_t y = 0; y < 240; ++y) {
    for (std::size_t x = 0; x < 320; ++x) {
      ASSERT_EQ(pixels[y][x], x >= 160 && x < 216 && y >= 48 && y < 176) << x << ", " << y;
    }
  }
}

TEST(Masks, WithoutAPixelAreNoDetections) {
  const auto model = segment_model();
  Head head = segment_head(model);
  put(head, 9, 9, {4, 4, 4, 4}, 1, 4, "msk0", {0, -1});
  put(head, 9, 15, {1, 1, 1, 1}, 0, 3, "msk0", {0, 1});
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  ASSERT_EQ(boxes.detections.size(), 1u);
  EXPECT_EQ(boxes.detections[0].hypothesis.class_id, 0u);
}

TEST(Masks, OfPrototypesThatAreNoNumbersAreCounted) {
  const auto model = segment_model();
  Head head = segment_head(model);
  at(head, "proto", 18, 18)[1] = kNan;
  put(head, 9, 9, {4, 4, 4, 4}, 1, 4, "msk0", {1, 1});
  put(head, 9, 15, {1, 1, 1, 1}, 0, 3, "msk0", {0, 1});
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  EXPECT_EQ(boxes.detections.size(), 1u);
  EXPECT_EQ(postprocessor.not_finite().masks, 1u);
}

// Bilinear interpolation of every pixel's centre between cells that are `times` finer, as it is written
// in textbooks.
std::vector<std::vector<bool>> plain_mask(Head& head, std::span<const float> coefficients,
                                          const msgs::BoundingBox2D& box,
                                          const msgs::LetterboxTransform& t, int times) {
  const auto bilinear = [](double u, double v, int side, const auto& value) {
    const int i = std::min(static_cast<int>(u), side - 2);
    const int j = std::min(static_cast<int>(v), side - 2);
    const double a = u - i;
    const double b = v - j;
    return (1 - b) * ((1 - a) * value(i, j) + a * value(i + 1, j)) +
           b * ((1 - a) * value(i, j + 1) + a * value(i + 1, j + 1));
  };
  const auto sum = [&](int x, int y) {
    double total = 0;
    const float* values = at(head, "proto", y, x);
    for (std::size_t k = 0; k < coefficients.size(); ++k) {
      total += double{values[k]} * double{coefficients[k]};
    }
    return total;
  };
  const auto finer = [&](int x, int y) {
    const auto place = [&](int cell) { return std::clamp((cell + 0.5) / times - 0.5, 0.0, 39.0); };
    return bilinear(place(x), place(y), 40, sum);
  };
  const double stride = 4.0 / times;
  const auto place = [&](double pixel, double source, double scaled, double pad) {
    const double at = ((pixel + 0.5) * scaled / source + pad) / stride - 0.5;
    return std::clamp(at, std::ceil(pad / stride), std::floor((pad + scaled) / stride) - 1);
  };
  std::vector<std::vector<bool>> pixels(t.source_height, std::vector<bool>(t.source_width));
  for (std::uint32_t y = 0; y < t.source_height; ++y) {
    for (std::uint32_t x = 0; x < t.source_width; ++x) {
      const auto left = static_cast<float>(x);
      const auto upper = static_cast<float>(y);
      if (left < box.center_x - box.size_x / 2 || left >= box.center_x + box.size_x / 2) continue;
      if (upper < box.center_y - box.size_y / 2 || upper >= box.center_y + box.size_y / 2) continue;
      pixels[y][x] =
          bilinear(place(x, t.source_width, t.new_width, t.pad_left),
                   place(y, t.source_height, t.new_height, t.pad_top), 40 * times, finer) > 0;
    }
  }
  return pixels;
}

TEST(Masks, EqualPlainInterpolationOfEveryPixel) {
  const auto model = segment_model(32);
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, 1);
  const struct {
    msgs::LetterboxTransform transform;
    int times;
  } cases[] = {
      {kTransform, 1},
      {{40, 30, 160, 160, 160, 120, 0, 20, 0, 0}, 1},     // four times larger
      {{1000, 700, 160, 160, 160, 112, 0, 24, 0, 0}, 1},  // far smaller
      {{960, 600, 160, 160, 160, 100, 0, 30, 0, 0}, 2},   // its border lies in the middle of a cell
      {{640, 360, 160, 160, 160, 90, 0, 35, 0, 0}, 4},    // and in a quarter
      {{61, 160, 160, 160, 61, 160, 49, 0, 0, 0}, 4},
  };
  std::size_t inside = 0;
  std::size_t differing = 0;
  std::size_t all = 0;
  for (const auto& [transform, times] : cases) {
    Head head = quiet_head(model);
    for (Head::Map& map : head.maps) {
      if (map.name != "proto") continue;
      for (float& value : map.values) value = normal(random);
    }
    std::vector<float> coefficients(32);
    for (float& value : coefficients) value = normal(random);
    put(head, 9, 9, {7, 6.3f, 8, 5.7f}, 1, 4);
    std::copy(coefficients.begin(), coefficients.end(), at(head, "msk0", 9, 9));
    Postprocessor postprocessor = make(model);
    msgs::Detection2DArray boxes;
    ASSERT_TRUE(postprocessor.run(head.tensors(), transform, boxes));
    const auto found = std::make_unique<msgs::InstanceMask2DArray>();
    postprocessor.masks(*found);
    ASSERT_EQ(found->instances.size(), 1u);
    const auto pixels = pixels_of(*found, 0);
    const auto expected =
        plain_mask(head, coefficients, boxes.detections[0].bbox, transform, times);
    for (std::size_t y = 0; y < pixels.size(); ++y) {
      for (std::size_t x = 0; x < pixels[0].size(); ++x) {
        inside += expected[y][x] ? 1 : 0;
        differing += pixels[y][x] != expected[y][x] ? 1 : 0;
        ++all;
      }
    }
  }
  EXPECT_GT(inside, all / 5);
  EXPECT_LT(differing, all / 10'000);  // where a sum is 0 but for rounding
}

TEST(Masks, ForWhichAMessageHasNoRoomAreToldApartFromEmptyOnes) {
  InstanceMasks masks;
  std::vector<float> values(40 * 40, 1.0f);
  const Prototypes prototypes{values.data(), 40, 40, 1, 4};
  const std::array<float, 1> weights{1};
  std::size_t count = 7;
  std::array<std::uint32_t, 2> room{};
  EXPECT_EQ(masks.write(prototypes, weights, {10, 10, 20, 20}, kTransform, room, count),
            InstanceMasks::Outcome::kNoRoom);
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(masks.write(prototypes, weights, {10, 10, 10, 20}, kTransform, room, count),
            InstanceMasks::Outcome::kEmpty);
  std::array<std::uint32_t, 3> all{};
  EXPECT_EQ(masks.write(prototypes, weights, {0, 0, 320, 240}, kTransform, all, count),
            InstanceMasks::Outcome::kWritten);
  EXPECT_EQ(count, 2u);
  EXPECT_EQ(all[0], 0u);
  EXPECT_EQ(all[1], 320u * 240u);
}

// Stripes of one pixel in boxes as large as the picture: more runs than a message holds.
TEST(Masks, BeyondAMessageAreLeftOutOfItButNotForgotten) {
  const auto model = segment_model();
  Head head = quiet_head(model);
  for (std::int64_t y = 0; y < 40; ++y) {
    for (std::int64_t x = 0; x < 40; ++x) {
      at(head, "proto", y, x)[0] = y % 2 == 0 ? 1.0f : -1.0f;
    }
  }
  for (std::int64_t row = 0; row < 4; ++row) {
    put(head, 2 * row + 6, 9, {20, 20, 20, 20}, 0, 4 - static_cast<float>(row), "msk0", {1, 0});
  }
  PostprocessOptions options;
  options.iou_threshold = 1;
  Postprocessor postprocessor = make(model, options);
  const msgs::LetterboxTransform large{1600, 1600, 160, 160, 160, 160, 0, 0, 0, 0};
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), large, boxes));
  ASSERT_EQ(boxes.detections.size(), 4u);
  const auto found = std::make_unique<msgs::InstanceMask2DArray>();
  postprocessor.masks(*found);
  ASSERT_EQ(found->instances.size(), 4u);
  std::size_t with_runs = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_GT(postprocessor.mask_runs(i).size(), 40'000u);
    with_runs += found->instances[i].run_count > 0 ? 1 : 0;
  }
  EXPECT_GT(found->instances[0].run_count, 0u);
  EXPECT_EQ(found->truncated, 4 - with_runs);
  EXPECT_EQ(found->truncated, postprocessor.masks_without_room());
  EXPECT_GT(found->truncated, 0u);
}

}  // namespace
}  // namespace fovea
