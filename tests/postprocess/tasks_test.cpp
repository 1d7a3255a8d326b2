// What is found beside boxes: keypoints, turned boxes, masks and classes, from raw maps to messages.
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/postprocess/postprocessor.hpp"
#include "tests/postprocess/heads.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using test::Head;
using testing::HasSubstr;

constexpr float kPi = std::numbers::pi_v<float>;
constexpr std::array<std::uint32_t, 2> kStrides{8, 16};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// 320x240 pixels, halved into the middle of 160x160.
constexpr msgs::LetterboxTransform kTransform{.source_width = 320,
                                              .source_height = 240,
                                              .network_width = 160,
                                              .network_height = 160,
                                              .new_width = 160,
                                              .new_height = 120,
                                              .pad_left = 0,
                                              .pad_top = 20,
                                              .crop_left = 0,
                                              .crop_top = 0};

msgs::ModelInfo model_of(const HeadSpec& head, std::uint32_t classes) {
  msgs::ModelInfo model;
  model.head = head;
  model.network_width = model.network_height = 160;
  for (std::uint32_t c = 0; c < classes; ++c) {
    model.class_names.push_back(std::string_view(fmt::format("class{}", c)));
  }
  return model;
}

// Heads of one bin, so that distances are written as they are; two classes.
msgs::ModelInfo level_model(const LevelMap& more) {
  HeadSpec head = dfl_head(2, 1, kStrides, Suppression::kNeeded, more);
  if (more.role == OutputRole::kMaskCoefficients) head.maps.push_back(prototypes(more.channels, 4));
  return model_of(head, 2);
}
msgs::ModelInfo pose_model(OutputEncoding encoding, std::uint32_t values = 3) {
  return level_model({.role = OutputRole::kKeypoints,
                      .encoding = encoding,
                      .channels = 2 * values,
                      .point_values = values});
}
msgs::ModelInfo obb_model(OutputEncoding encoding) {
  return level_model({.role = OutputRole::kAngle, .encoding = encoding});
}
msgs::ModelInfo segment_model(std::uint32_t channels = 2) {
  return level_model({.role = OutputRole::kMaskCoefficients, .channels = channels});
}

// All scores far below any threshold, all else 0.
Head quiet_head(const msgs::ModelInfo& model) {
  Head head;
  for (const OutputMap& map : model.head.maps) {
    const std::int64_t side = 160 / map.stride;
    head.add(std::string(map.tensor.view()), {side, side, map.channels});
    if (map.role == OutputRole::kClassScore) {
      std::fill(head.maps.back().values.begin(), head.maps.back().values.end(), -20.0f);
    }
  }
  return head;
}

float* at(Head& head, std::string_view name, std::int64_t row, std::int64_t column) {
  for (Head::Map& map : head.maps) {
    if (map.name == name) return &map.values[(row * map.dims[1] + column) * map.dims[2]];
  }
  std::abort();
}

// An object in cell (row, column) of level 0: `sides` in cells of 8 pixels around its centre.
void put(Head& head, std::int64_t row, std::int64_t column, std::array<float, 4> sides,
         std::uint32_t class_id, float logit, std::string_view map = "",
         std::initializer_list<float> values = {}) {
  std::copy(sides.begin(), sides.end(), at(head, "box0", row, column));
  at(head, "cls0", row, column)[class_id] = logit;
  if (!map.empty()) std::copy(values.begin(), values.end(), at(head, map, row, column));
}

Postprocessor make(const msgs::ModelInfo& model, const PostprocessOptions& options = {}) {
  auto postprocessor = Postprocessor::create(model, options);
  if (!postprocessor) throw std::runtime_error(postprocessor.error().message);
  return std::move(*postprocessor);
}

std::string refusal_of(const msgs::ModelInfo& model) {
  const auto refused = Postprocessor::create(model);
  return refused ? "" : refused.error().message;
}

TEST(Tasks, FollowFromTheMaps) {
  EXPECT_EQ(make(model_of(dfl_head(2, 1, kStrides), 2)).task(), Task::kDetect);
  EXPECT_EQ(make(pose_model(OutputEncoding::kTwiceOffset)).task(), Task::kPose);
  EXPECT_EQ(make(obb_model(OutputEncoding::kLogit)).task(), Task::kObb);
  EXPECT_EQ(make(segment_model()).task(), Task::kSegment);
  EXPECT_EQ(make(model_of(classify_head(7), 7)).task(), Task::kClassify);
}

// Cell (5, 10) of 8 pixels: its corner at (80, 40), its centre at (84, 44).
TEST(Keypoints, ComeOutOfBothEncodingsInSourcePixels) {
  for (const bool twice : {true, false}) {
    const auto model =
        pose_model(twice ? OutputEncoding::kTwiceOffset : OutputEncoding::kCentreOffset);
    Head head = quiet_head(model);
    put(head, 5, 10, {2, 2, 2, 2}, 1, 4, "kpt0", {0.5f, -1, 0, 100, 1, -30});
    Postprocessor postprocessor = make(model);
    msgs::Detection2DArray boxes;
    ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
    ASSERT_EQ(boxes.detections.size(), 1u);
    const auto found = std::make_unique<msgs::KeypointDetection2DArray>();
    postprocessor.keypoints(*found);
    EXPECT_EQ(found->source_width, 320u);
    EXPECT_EQ(found->source_height, 240u);
    ASSERT_EQ(found->detections.size(), 1u);
    const msgs::KeypointDetection2D& person = found->detections[0];
    EXPECT_EQ(person.bbox, boxes.detections[0].bbox);
    EXPECT_EQ(person.hypothesis.class_id, 1u);
    EXPECT_EQ(person.class_name, msgs::ClassName("class1"));
    ASSERT_EQ(person.keypoints.size(), 2u);
    // Network (88, 24) or (88, 36); the source is twice as large, and 20 network pixels higher.
    EXPECT_EQ(person.keypoints[0],
              (twice ? msgs::Keypoint2D{176, 8, 0.5f} : msgs::Keypoint2D{176, 32, 0.5f}));
    // Beyond the right edge: clipped to it, and hardly visible.
    EXPECT_EQ(person.keypoints[1].x, 320);
    EXPECT_LT(person.keypoints[1].visibility, 1e-9f);
  }
}

TEST(Keypoints, OfTwoValuesAreVisible) {
  const auto model = pose_model(OutputEncoding::kCentreOffset, 2);
  Head head = quiet_head(model);
  put(head, 5, 10, {2, 2, 2, 2}, 0, 4, "kpt0", {0, 0, 1, 1});
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  const auto found = std::make_unique<msgs::KeypointDetection2DArray>();
  postprocessor.keypoints(*found);
  ASSERT_EQ(found->detections.size(), 1u);
  EXPECT_EQ(found->detections[0].keypoints[0], (msgs::Keypoint2D{168, 48, 1}));
  EXPECT_EQ(found->detections[0].keypoints[1], (msgs::Keypoint2D{184, 64, 1}));
}

TEST(Keypoints, ThatAreNoNumbersTakeTheirObjectOut) {
  const auto model = pose_model(OutputEncoding::kTwiceOffset);
  Head head = quiet_head(model);
  put(head, 5, 10, {2, 2, 2, 2}, 1, 4, "kpt0", {0, 0, 0, 0, kNan, 0});
  put(head, 12, 3, {2, 2, 2, 2}, 1, 3, "kpt0", {0, 0, 0, 0, 0, 0});
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  EXPECT_EQ(boxes.detections.size(), 1u);
  EXPECT_EQ(postprocessor.not_finite().boxes, 1u);
}

// A box of 32 x 16 around the cell's centre, turned by an eighth of a turn.
TEST(OrientedBoxes, ComeOutOfBothEncodingsWithUprightOnesAround) {
  for (const bool logit : {true, false}) {
    const auto model = obb_model(logit ? OutputEncoding::kLogit : OutputEncoding::kDecoded);
    Head head = quiet_head(model);
    // The sigmoid of 0 is a half: a quarter of pi.
    put(head, 9, 9, {2, 1, 2, 1}, 0, 4, "ang0", {logit ? 0.0f : kPi / 4});
    Postprocessor postprocessor = make(model);
    msgs::Detection2DArray boxes;
    ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
    msgs::OrientedDetection2DArray found;
    postprocessor.oriented_boxes(found);
    ASSERT_EQ(found.detections.size(), 1u);
    const msgs::OrientedBox2D& box = found.detections[0].bbox;
    EXPECT_NEAR(box.center_x, 152, 1e-3);
    EXPECT_NEAR(box.center_y, 112, 1e-3);
    EXPECT_NEAR(box.size_x, 64, 1e-3);
    EXPECT_NEAR(box.size_y, 32, 1e-3);
    EXPECT_NEAR(box.theta, kPi / 4, 1e-5);
    ASSERT_EQ(boxes.detections.size(), 1u);
    EXPECT_NEAR(boxes.detections[0].bbox.size_x, 96 / std::sqrt(2.0f), 1e-3);
    EXPECT_NEAR(boxes.detections[0].bbox.size_y, 96 / std::sqrt(2.0f), 1e-3);
  }
}

// Distances are along the box's own axes: turned by a quarter, what lies to its right is below.
TEST(OrientedBoxes, TurnTheirCentreWithThem) {
  const auto model = obb_model(OutputEncoding::kDecoded);
  Head head = quiet_head(model);
  put(head, 9, 9, {1, 1, 3, 1}, 0, 4, "ang0", {kPi / 2});
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  msgs::OrientedDetection2DArray found;
  postprocessor.oriented_boxes(found);
  ASSERT_EQ(found.detections.size(), 1u);
  EXPECT_NEAR(found.detections[0].bbox.center_x, 152, 1e-3);
  EXPECT_NEAR(found.detections[0].bbox.center_y, 112 + 16, 1e-3);
  EXPECT_NEAR(found.detections[0].bbox.theta, kPi / 2, 1e-5);
}

TEST(OrientedBoxes, ThatCrossAreTwoObjectsAndThatLieOnEachOtherOne) {
  const auto model = obb_model(OutputEncoding::kDecoded);
  for (const bool cross : {true, false}) {
    Head head = quiet_head(model);
    put(head, 9, 9, {4, 1, 4, 1}, 0, 4, "ang0", {0});
    put(head, 9, 10, {5, 1, 3, 1}, 0, 3, "ang0", {cross ? kPi / 2 : 0});
    Postprocessor postprocessor = make(model);
    msgs::Detection2DArray boxes;
    ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
    EXPECT_EQ(boxes.detections.size(), cross ? 2u : 1u);
  }
}

TEST(OrientedBoxes, AreNoBoxesWithoutASizeOrAnAngle) {
  const auto model = obb_model(OutputEncoding::kDecoded);
  Head head = quiet_head(model);
  put(head, 3, 3, {1, 1, -1, 1}, 0, 4, "ang0", {0.3f});
  put(head, 5, 3, {1, -1, 1, 1}, 0, 4, "ang0", {0.3f});
  put(head, 7, 3, {1, 1, 1, 1}, 0, 4, "ang0", {std::numeric_limits<float>::infinity()});
  put(head, 9, 3, {1, 1, 1, 1}, 0, 4, "ang0", {0.3f});
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  EXPECT_EQ(boxes.detections.size(), 1u);
  EXPECT_EQ(postprocessor.not_finite().boxes, 1u);
}

TEST(OrientedBoxes, OfNegativeSizeAreTheSameRectangleMirrored) {
  const auto model = obb_model(OutputEncoding::kDecoded);
  Head head = quiet_head(model);
  put(head, 9, 9, {-2, 1, -2, 1}, 0, 4, "ang0", {0.3f});
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  msgs::OrientedDetection2DArray found;
  postprocessor.oriented_boxes(found);
  ASSERT_EQ(found.detections.size(), 1u);
  EXPECT_FLOAT_EQ(found.detections[0].bbox.size_x, 64);
  EXPECT_FLOAT_EQ(found.detections[0].bbox.size_y, 32);
}

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

TEST(Classes, AreTheBestFiveWhateverTheThreshold) {
  const auto model = model_of(classify_head(7), 7);
  Head head;
  head.add("output0", {7});
  head.maps[0].values = {0.05f, 0.3f, 0.01f, 0.3f, 0.14f, 0.1f, 0.1f};
  PostprocessOptions options;
  options.score_threshold = 0.9f;
  Postprocessor postprocessor = make(model, options);
  msgs::Detection2DArray boxes;
  boxes.detections.count = 3;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  EXPECT_TRUE(boxes.detections.empty());
  msgs::Classification found;
  postprocessor.classification(found);
  ASSERT_EQ(found.results.size(), 5u);
  const std::array<std::uint32_t, 5> order{1, 3, 4, 5, 6};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(found.results[i].hypothesis.class_id, order[i]);
    EXPECT_EQ(found.results[i].hypothesis.score, head.maps[0].values[order[i]]);
    EXPECT_EQ(found.results[i].class_name, model.class_names[order[i]]);
  }
  head.maps[0].values[2] = kNan;
  EXPECT_FALSE(postprocessor.run(head.tensors(), kTransform, boxes));
}

TEST(Classes, AreAsManyAsThereAre) {
  const auto model = model_of(classify_head(2), 2);
  Head head;
  head.add("output0", {2});
  head.maps[0].values = {0.25f, 0.75f};
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  msgs::Classification found;
  postprocessor.classification(found);
  ASSERT_EQ(found.results.size(), 2u);
  EXPECT_EQ(found.results[0].hypothesis.class_id, 1u);
}

TEST(Tasks, RefuseHeadsThatMakeNoSense) {
  using Model = msgs::ModelInfo;
  // Maps of a level: box, class scores, details.
  const struct {
    Model model;
    void (*change)(Model&);
    std::string why;
  } cases[] = {
      {pose_model(OutputEncoding::kTwiceOffset), [](Model& m) { m.head.maps[2].point_values = 4; },
       "point_values is 4"},
      {pose_model(OutputEncoding::kTwiceOffset), [](Model& m) { m.head.maps[2].point_values = 2; },
       "the maps of keypoints and keypoints differ"},
      {pose_model(OutputEncoding::kTwiceOffset),
       [](Model& m) { m.head.maps[2].channels = m.head.maps[5].channels = 65 * 3; },
       "keypoints is 65; it must be 1..64"},
      {pose_model(OutputEncoding::kTwiceOffset),
       [](Model& m) { m.head.maps[2].encoding = m.head.maps[5].encoding = OutputEncoding::kLogit; },
       "keypoints is logit"},
      {pose_model(OutputEncoding::kTwiceOffset), [](Model& m) { m.head.maps[5].stride = 8; },
       "stride 8 has several maps of keypoints"},
      {pose_model(OutputEncoding::kTwiceOffset), [](Model& m) { m.head.maps[5].stride = 32; },
       "stride 32 has no boxes beside its maps of keypoints"},
      {pose_model(OutputEncoding::kTwiceOffset), [](Model& m) { --m.head.maps.count; },
       "1 of 2 strides have a map of keypoints"},
      {obb_model(OutputEncoding::kLogit),
       [](Model& m) { m.head.maps[2].channels = m.head.maps[5].channels = 2; },
       "angle channels is 2"},
      {segment_model(), [](Model& m) { --m.head.maps.count; },
       "the head has 0 maps of prototypes; it must have 1"},
      {segment_model(), [](Model& m) { m.head.maps[6].channels = 3; },
       "as many as the 2 coefficients"},
      {segment_model(), [](Model& m) { m.head.maps[6].stride = 3; }, "prototypes have stride 3"},
      {segment_model(), [](Model& m) { m.head.maps[6].stride = 0; }, "prototypes have stride 0"},
      {model_of(classify_head(3), 3),
       [](Model& m) { m.head.maps[0].encoding = OutputEncoding::kLogit; }, "class_score is logit"},
  };
  for (const auto& c : cases) {
    Model model = c.model;
    EXPECT_EQ(refusal_of(model), "");
    c.change(model);
    EXPECT_THAT(refusal_of(model), HasSubstr(c.why));
  }
}

TEST(Tasks, RefuseTensorsThatAreNotTheModels) {
  for (const auto& model : {pose_model(OutputEncoding::kCentreOffset), segment_model()}) {
    Head head = quiet_head(model);
    Postprocessor postprocessor = make(model);
    msgs::Detection2DArray boxes;
    ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
    Head missing = head;
    missing.maps.pop_back();
    EXPECT_FALSE(postprocessor.run(missing.tensors(), kTransform, boxes));
    head.maps.back().dims[0] += 1;
    EXPECT_FALSE(postprocessor.run(head.tensors(), kTransform, boxes));
  }
}

TEST(Tasks, AllocateNothingAfterTheFirstFrame) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 1);
  for (const auto& model : {pose_model(OutputEncoding::kCentreOffset),
                            obb_model(OutputEncoding::kLogit), segment_model()}) {
    Head head = quiet_head(model);
    for (Head::Map& map : head.maps) {
      const bool is_box = map.name.starts_with("box");
      for (float& value : map.values) value = normal(random) + (is_box ? 3.0f : 0.0f);
    }
    Postprocessor postprocessor = make(model);
    msgs::Detection2DArray boxes;
    const auto tensors = head.tensors();
    ASSERT_TRUE(postprocessor.run(tensors, kTransform, boxes));
    EXPECT_GT(boxes.detections.size(), 20u);
    const auto masks = std::make_unique<msgs::InstanceMask2DArray>();
    const auto keypoints = std::make_unique<msgs::KeypointDetection2DArray>();
    const auto turned = std::make_unique<msgs::OrientedDetection2DArray>();
    const test::AllocationGuard guard;
    ASSERT_TRUE(postprocessor.run(tensors, kTransform, boxes));
    if (postprocessor.task() == Task::kSegment) postprocessor.masks(*masks);
    if (postprocessor.task() == Task::kPose) postprocessor.keypoints(*keypoints);
    if (postprocessor.task() == Task::kObb) postprocessor.oriented_boxes(*turned);
    EXPECT_EQ(guard.count(), 0u);
  }
}

TEST(TurnedBoxes, OverlapAsTheirGaussiansDo) {
  const TurnedBox box{50, 50, 40, 10, 0.4f};
  EXPECT_NEAR(overlap(box, box), 1, 1e-3);
  // Half a turn is the same box; a quarter with exchanged sides, too.
  EXPECT_NEAR(overlap(box, {50, 50, 40, 10, 0.4f + kPi}), 1, 1e-3);
  EXPECT_NEAR(overlap(box, {50, 50, 10, 40, 0.4f + kPi / 2}), 1, 1e-3);
  EXPECT_NEAR(overlap(box, {50, 500, 40, 10, 0.4f}), 0, 1e-3);
  // Two Gaussians of one axis, d apart, of variance v: the distance is d * d / (8 * v).
  const float variance = 40.0f * 40 / 12;
  const float apart = 12;
  const float expected = 1 - std::sqrt(1 - std::exp(-apart * apart / (8 * variance)));
  EXPECT_NEAR(overlap({0, 0, 40, 10, 0}, {apart, 0, 40, 10, 0}), expected, 1e-3);
}

// The plain way: every pair.
TEST(TurnedBoxes, AreSuppressedByThoseOfHigherScoresThatOverlapThem) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> position(0, 200), size(5, 60), angle(-4, 4), unit(0, 1);
  std::vector<TurnedSuppression::Box> boxes;
  for (int i = 0; i < 400; ++i) {
    boxes.push_back(
        {{position(random), position(random), size(random), size(random), angle(random)},
         std::round(unit(random) * 50) / 50,
         static_cast<std::uint32_t>(random() % 2)});
  }
  for (const bool agnostic : {false, true}) {
    for (const float threshold : {0.0f, 0.1f, 0.45f, 0.9f, 1.0f}) {
      PostprocessOptions options;
      options.iou_threshold = threshold;
      options.class_agnostic = agnostic;
      std::vector<std::uint32_t> expected;
      std::vector<std::uint32_t> order(boxes.size());
      std::iota(order.begin(), order.end(), 0u);
      std::stable_sort(order.begin(), order.end(),
                       [&](auto a, auto b) { return boxes[a].score > boxes[b].score; });
      for (std::size_t i = 0; i < order.size(); ++i) {
        bool stays = true;
        for (std::size_t k = 0; k < i; ++k) {
          const auto& a = boxes[order[k]];
          const auto& b = boxes[order[i]];
          if (!agnostic && a.class_id != b.class_id) continue;
          stays = stays && !(overlap(a.box, b.box) > threshold);
        }
        if (stays && expected.size() < options.max_detections) expected.push_back(order[i]);
      }
      TurnedSuppression suppression;
      const auto kept = suppression.run(boxes, options);
      EXPECT_EQ(std::vector<std::uint32_t>(kept.begin(), kept.end()), expected)
          << threshold << (agnostic ? " agnostic" : "");
    }
  }
}

}  // namespace
}  // namespace fovea
