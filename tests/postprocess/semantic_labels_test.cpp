// Labels of pixels: the greatest interpolated logit, whatever kernels find it, and its runs.
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/postprocess/label_kernels.hpp"
#include "tests/postprocess/task_heads.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using test::at;
using test::kNan;
using test::kTransform;
using test::make;
using test::model_of;
using test::refusal_of;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint8_t kNone = SemanticLabels::kNoLabel;

// Logits of 160x160 pixels.
struct Map {
  Map(std::uint32_t classes, std::uint32_t cell = 8, std::uint32_t seed = 1)
      : stride(cell), channels(classes), side(160 / cell) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 3);
    values.resize(std::size_t{side} * side * channels);
    for (float& value : values) value = normal(random);
  }
  DenseMap view() const { return {values.data(), side, side, channels, stride}; }
  float* cell(std::uint32_t row, std::uint32_t column) {
    return &values[(std::size_t{row} * side + column) * channels];
  }
  // Of a class at a network pixel, as it is defined.
  double value(std::uint32_t c, std::uint32_t y, std::uint32_t x) const {
    const auto place = [&](std::uint32_t p) {
      return std::clamp((p + 0.5) / stride - 0.5, 0.0, side - 1.0);
    };
    const double v = place(y);
    const double u = place(x);
    const auto row = static_cast<std::uint32_t>(v);
    const auto column = static_cast<std::uint32_t>(u);
    const auto number = [&](std::uint32_t r, std::uint32_t k) {
      return double{
          values[(std::size_t{std::min(r, side - 1)} * side + std::min(k, side - 1)) * channels +
                 c]};
    };
    return std::lerp(std::lerp(number(row, column), number(row, column + 1), u - column),
                     std::lerp(number(row + 1, column), number(row + 1, column + 1), u - column),
                     v - row);
  }
  // Whether a label is the greatest, but for rounding.
  bool is_greatest(std::uint8_t label, std::uint32_t y, std::uint32_t x) const {
    if (channels == 1) {
      const double single = value(0, y, x);
      return std::abs(single) < 1e-4 || label == (single > 0 ? 0 : kNone);
    }
    if (label >= channels) return false;
    for (std::uint32_t c = 0; c < channels; ++c) {
      if (value(c, y, x) > value(label, y, x) + 1e-4) return false;
    }
    return true;
  }

  std::uint32_t stride, channels, side;
  std::vector<float> values;
};

std::vector<std::uint8_t> row_of(const SemanticLabels& labels, std::uint32_t y) {
  std::vector<std::uint8_t> row(labels.width());
  labels.row(y, row);
  return row;
}

TEST(SemanticLabels, AreTheGreatestInterpolatedLogitOfEachPixel) {
  for (const std::uint32_t stride : {4u, 5u, 8u, 16u, 32u}) {
    for (const std::uint32_t classes : {1u, 2u, 3u, 19u, 255u}) {
      if (classes == 255 && stride < 16) continue;
      const Map map(classes, stride);
      for (const bool scalar : {true, false}) {
        SemanticLabels labels(scalar);
        labels.draw(map.view(), kTransform);
        ASSERT_EQ(labels.width(), 160u);
        ASSERT_EQ(labels.height(), 120u);
        int wrong = 0;
        for (std::uint32_t y = 0; y < 120; ++y) {
          const auto row = row_of(labels, y);
          for (std::uint32_t x = 0; x < 160; ++x) wrong += !map.is_greatest(row[x], y + 20, x);
        }
        EXPECT_EQ(wrong, 0) << "stride " << stride << ", " << classes << " classes, " << scalar;
      }
    }
  }
}

TEST(SemanticLabels, OfEqualLogitsTheFirstCounts) {
  Map map(20);
  std::fill(map.values.begin(), map.values.end(), 0.25f);
  SemanticLabels labels;
  labels.draw(map.view(), kTransform);
  msgs::SemanticMap out;
  labels.write(out);
  ASSERT_EQ(out.classes.size(), 1u);
  EXPECT_EQ(out.classes[0].class_id, 0u);
  EXPECT_EQ(out.classes[0].pixels, 160u * 120);
  EXPECT_EQ(labels.greatest(), 0u);
}

TEST(SemanticLabels, BesideACellThatIsNotFiniteAreNone) {
  for (const float broken : {kNan, std::numeric_limits<float>::infinity()}) {
    for (const std::uint32_t classes : {1u, 3u, 40u}) {
      Map map(classes);
      map.cell(10, 10)[classes - 1] = broken;
      for (const bool scalar : {true, false}) {
        SemanticLabels labels(scalar);
        labels.draw(map.view(), kTransform);
        // Cell (10, 10) has pixels 80..87; half a cell more to every side depends on it.
        EXPECT_EQ(row_of(labels, 84 - 20)[84], kNone);
        EXPECT_EQ(row_of(labels, 76 - 20)[91], kNone);
        if (classes > 1) {
          EXPECT_NE(row_of(labels, 84 - 20)[92], kNone);
          EXPECT_NE(row_of(labels, 75 - 20)[84], kNone);
        }
      }
    }
  }
}

std::vector<std::uint8_t> expanded(const msgs::SemanticMap& map) {
  std::vector<std::uint8_t> labels;
  for (const msgs::LabelRun& run : map.runs) {
    labels.insert(labels.end(), run.length, static_cast<std::uint8_t>(run.label));
  }
  return labels;
}

TEST(SemanticLabels, RunsAreTheRows) {
  const Map map(3, 16);
  SemanticLabels labels;
  labels.draw(map.view(), kTransform);
  const auto out = std::make_unique<msgs::SemanticMap>();
  labels.write(*out);
  EXPECT_EQ(out->source_width, 320u);
  EXPECT_EQ(out->width, 160u);
  EXPECT_EQ(out->truncated, 0u);
  std::vector<std::uint8_t> rows;
  for (std::uint32_t y = 0; y < labels.height(); ++y) {
    const auto row = row_of(labels, y);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  EXPECT_EQ(expanded(*out), rows);
  std::uint32_t pixels = 0;
  for (std::size_t i = 0; i < out->classes.size(); ++i) {
    pixels += out->classes[i].pixels;
    EXPECT_LE(out->classes[i].pixels, out->classes[i == 0 ? 0 : i - 1].pixels);
  }
  EXPECT_EQ(pixels, 160u * 120);
}

// A centre crop sees the middle of the picture only.
TEST(SemanticLabels, WhereTheNetworkSawNothingAreNone) {
  const msgs::LetterboxTransform crop{.source_width = 400,
                                      .source_height = 160,
                                      .network_width = 160,
                                      .network_height = 160,
                                      .new_width = 400,
                                      .new_height = 160,
                                      .pad_left = 0,
                                      .pad_top = 0,
                                      .crop_left = 120,
                                      .crop_top = 0};
  ASSERT_TRUE(crop.valid());
  SemanticLabels labels;
  labels.draw(Map(3).view(), crop);
  const auto row = row_of(labels, 80);
  ASSERT_EQ(row.size(), 400u);
  EXPECT_EQ(row[119], kNone);
  EXPECT_NE(row[120], kNone);
  EXPECT_NE(row[279], kNone);
  EXPECT_EQ(row[280], kNone);
  const auto out = std::make_unique<msgs::SemanticMap>();
  labels.write(*out);
  EXPECT_EQ(out->runs[0], (msgs::LabelRun{kNone, 120}));
  EXPECT_EQ(expanded(*out).size(), 400u * 160);
}

TEST(SemanticLabels, RowsThatAMessageHasNoRoomForAreLeftOutAndTold) {
  constexpr std::uint32_t kSide = 512;  // every cell another class: a run per pixel
  std::vector<float> values(std::size_t{kSide} * kSide * 2);
  for (std::size_t cell = 0; cell < values.size() / 2; ++cell) {
    values[2 * cell + (cell + cell / kSide) % 2] = 1;
  }
  SemanticLabels labels;
  labels.draw({values.data(), kSide, kSide, 2, 1},
              {kSide, kSide, kSide, kSide, kSide, kSide, 0, 0, 0, 0});
  const auto out = std::make_unique<msgs::SemanticMap>();
  labels.write(*out);
  EXPECT_EQ(out->truncated, kSide - msgs::SemanticMap::kMaxRuns / kSide);
  EXPECT_EQ(labels.rows_without_room(), out->truncated);
  EXPECT_EQ(out->runs.size(), msgs::SemanticMap::kMaxRuns);
  EXPECT_EQ(out->classes[0].pixels + out->classes[1].pixels, kSide * kSide);
}

TEST(LabelKernels, OfEveryInstructionSetDoTheSame) {
  const label_kernels::Kernels& readable = label_kernels::scalar_kernels();
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (const auto& [name, kernels] : label_kernels::all_kernels()) {
    for (const std::size_t count : {1u, 7u, 16u, 19u, 33u, 255u}) {
      std::vector<float> values(4 * count);
      for (float& value : values) value = normal(random);
      for (std::size_t c = 0; c < count; c += 3) values[2 * count + c] = values[c];  // equal ones
      const float* const corners[4] = {&values[0], &values[count], &values[2 * count],
                                       &values[3 * count]};
      const auto found = [&](const label_kernels::Kernels& k) {
        std::vector<std::uint16_t> classes(count + label_kernels::kPad);
        bool finite = true;
        classes.resize(k.find_candidates(corners, count, classes.data(), finite));
        EXPECT_TRUE(finite);
        return classes;
      };
      EXPECT_EQ(found(*kernels), found(readable)) << name << ' ' << count;
      std::vector<std::uint16_t> any(count + label_kernels::kPad);
      values[count + count / 2] = kNan;
      bool finite = true;
      kernels->find_candidates(corners, count, any.data(), finite);
      EXPECT_FALSE(finite) << name << ' ' << count;
    }
    for (const std::size_t length : {1u, 15u, 63u, 64u, 65u, 200u}) {
      std::vector<std::uint8_t> labels(256, 7);
      labels[length] = 8;
      EXPECT_EQ(kernels->run_length(labels.data(), labels.size()), length) << name;
      EXPECT_EQ(kernels->run_length(labels.data(), length), length) << name;
    }
  }
}

TEST(SemanticTask, GivesAMapWithNamesAndNoDetections) {
  Postprocessor postprocessor = make(model_of(semantic_head(3, 8), 3));
  EXPECT_EQ(postprocessor.task(), Task::kSemantic);
  test::Head head;
  head.add("semantic", {20, 20, 3});
  for (std::int64_t row = 0; row < 20; ++row) {
    for (std::int64_t column = 0; column < 20; ++column) {
      at(head, "semantic", row, column)[column < 5 ? 2 : 1] = 1;
    }
  }
  msgs::Detection2DArray boxes;
  boxes.detections.push_back({});
  const auto tensors = head.tensors();
  ASSERT_TRUE(postprocessor.run(tensors, kTransform, boxes));
  EXPECT_TRUE(boxes.detections.empty());
  EXPECT_EQ(postprocessor.best_class(), 1u);
  const auto map = std::make_unique<msgs::SemanticMap>();
  postprocessor.semantic_map(*map);
  ASSERT_EQ(map->classes.size(), 2u);
  EXPECT_EQ(map->classes[0].class_name.view(), "class1");
  EXPECT_EQ(map->classes[1].pixels, 40u * 120);
  EXPECT_EQ(map->runs[0], (msgs::LabelRun{2, 40}));
  EXPECT_EQ(map->runs.size(), 2u * 120);
  const test::AllocationGuard guard;
  ASSERT_TRUE(postprocessor.run(tensors, kTransform, boxes));
  postprocessor.semantic_map(*map);
  EXPECT_EQ(guard.count(), 0u);

  at(head, "semantic", 3, 3)[0] = kNan;
  ASSERT_TRUE(postprocessor.run(tensors, kTransform, boxes));
  EXPECT_EQ(postprocessor.not_finite().scores, 1u);
  for (float& value : head.maps[0].values) value = kNan;
  const auto refused = postprocessor.run(tensors, kTransform, boxes);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("not finite"));
}

TEST(SemanticTask, RefusesHeadsThatAreNoMap) {
  EXPECT_THAT(refusal_of(model_of(semantic_head(256, 8), 256)),
              HasSubstr("channels of the map is 256; it must be 1..255"));
  EXPECT_THAT(refusal_of(model_of(semantic_head(3, 7), 3)), HasSubstr("does not divide"));
  EXPECT_THAT(refusal_of(model_of(semantic_head(3, 8), 4)), HasSubstr("there are names of 4"));
  HeadSpec twice = semantic_head(3, 8);
  twice.maps.push_back(twice.maps[0]);
  twice.maps[1].tensor = "other";
  EXPECT_NE(refusal_of(model_of(twice, 3)), "");
  HeadSpec mixed = dfl_head(3, 1, test::kStrides);
  mixed.maps.push_back(semantic_head(3, 8).maps[0]);
  EXPECT_NE(refusal_of(model_of(mixed, 3)), "");
}

TEST(SemanticTask, RefusesPicturesTooLargeForAMap) {
  Postprocessor postprocessor = make(model_of(semantic_head(1, 8), 1));
  test::Head head;
  head.add("semantic", {20, 20, 1});
  msgs::LetterboxTransform huge = kTransform;
  huge.new_height = huge.pad_top = 0;
  huge.new_height = 1u << 31;
  msgs::Detection2DArray boxes;
  const auto refused = postprocessor.run(head.tensors(), huge, boxes);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("a map has sides of at most 32768"));
}

}  // namespace
}  // namespace fovea
