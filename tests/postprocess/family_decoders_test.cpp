// The heads of families outside Ultralytics', decoded by the published rule.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/base/grid_head.hpp"
#include "tests/postprocess/heads.hpp"

namespace fovea::test {
namespace {

using ::testing::HasSubstr;

constexpr std::uint32_t kClasses = 3;
constexpr std::array<std::uint32_t, 3> kStrides{8, 16, 32};

msgs::ModelInfo model_with(HeadSpec head, std::uint32_t width = 64, std::uint32_t height = 32) {
  msgs::ModelInfo model = make_model(HeadKind::kDecoded, kClasses, width);
  model.network_height = height;
  model.head = head;
  return model;
}

float next(std::mt19937& random) { return std::uniform_real_distribution<float>(-3, 3)(random); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// YOLOX's maps of 64 x 32 pixels.
Head random_grid() {
  std::mt19937 random(3);
  Head head;
  for (std::int64_t level = 0; level < 3; ++level) {
    const std::int64_t height = 4 >> level;
    const std::int64_t width = 8 >> level;
    head.add(fmt::format("box{}", level), {height, width, 4});
    head.add(fmt::format("obj{}", level), {height, width, 1});
    head.add(fmt::format("cls{}", level), {height, width, kClasses});
  }
  for (Head::Map& map : head.maps) {
    for (float& value : map.values) value = next(random);
  }
  return head;
}

// xy = (v + grid) * stride, wh = exp(v) * stride, score = objectness * class.
std::vector<Candidate> by_the_rule(const Head& head, float threshold) {
  std::vector<Candidate> all;
  std::uint32_t anchor = 0;
  for (std::size_t level = 0; level < 3; ++level) {
    const Head::Map& box = head.maps[3 * level];
    const Head::Map& objectness = head.maps[3 * level + 1];
    const Head::Map& scores = head.maps[3 * level + 2];
    const auto width = static_cast<std::size_t>(box.dims[1]);
    for (std::size_t cell = 0; cell < objectness.values.size(); ++cell, ++anchor) {
      Candidate best;
      for (std::uint32_t c = 0; c < kClasses; ++c) {
        const auto score = static_cast<float>(sigmoid(objectness.values[cell]) *
                                              sigmoid(scores.values[cell * kClasses + c]));
        if (score > threshold && score > best.score) {
          best.score = score;
          best.class_id = c;
        }
      }
      if (best.score == 0) continue;
      const float stride = static_cast<float>(kStrides[level]);
      const float x = (box.values[4 * cell] + static_cast<float>(cell % width)) * stride;
      const float y = (box.values[4 * cell + 1] + static_cast<float>(cell / width)) * stride;
      const float w = std::exp(box.values[4 * cell + 2]) * stride;
      const float h = std::exp(box.values[4 * cell + 3]) * stride;
      best.x1 = x - w / 2;
      best.y1 = y - h / 2;
      best.x2 = x + w / 2;
      best.y2 = y + h / 2;
      best.anchor = anchor;
      all.push_back(best);
    }
  }
  return all;
}

TEST(GridDecoder, DecodesAsYoloxDoes) {
  const Head head = random_grid();
  for (const float threshold : {0.0F, 0.1F, 0.3F, 0.9F, 1.0F}) {
    auto decoder = create_decoder(model_with(grid_head(kClasses, kStrides)));
    ASSERT_TRUE(decoder) << decoder.error().message;
    PostprocessOptions options;
    options.score_threshold = threshold;
    ASSERT_TRUE((*decoder)->set_options(options));
    std::vector<Candidate> got;
    ASSERT_TRUE((*decoder)->decode(head.tensors(), got));
    const std::vector<Candidate> wanted = by_the_rule(head, threshold);
    ASSERT_EQ(got.size(), wanted.size()) << threshold;
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].anchor, wanted[i].anchor);
      EXPECT_EQ(got[i].class_id, wanted[i].class_id);
      EXPECT_NEAR(got[i].score, wanted[i].score, 1e-5F);
      EXPECT_NEAR(got[i].x1, wanted[i].x1, 1e-2F);
      EXPECT_NEAR(got[i].y2, wanted[i].y2, 1e-2F);
    }
  }
}

TEST(GridDecoder, BrokenNumbersAreCountedAndNeverPass) {
  Head head = random_grid();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  head.maps[1].values[0] = kNan;                                    // an objectness
  head.maps[1].values[1] = std::numeric_limits<float>::infinity();  // another
  head.maps[1].values[2] = 5;
  head.maps[2].values[2 * kClasses] = kNan;  // a score behind a good one
  head.maps[1].values[3] = 5;
  head.maps[2].values[3 * kClasses] = 5;
  head.maps[0].values[4 * 3 + 2] = 1000;  // a width beyond all floats
  auto decoder = create_decoder(model_with(grid_head(kClasses, kStrides)));
  ASSERT_TRUE(decoder);
  std::vector<Candidate> got;
  ASSERT_TRUE((*decoder)->decode(head.tensors(), got));
  EXPECT_EQ((*decoder)->not_finite().scores, 3u);
  EXPECT_EQ((*decoder)->not_finite().boxes, 1u);
  for (const Candidate& candidate : got) {
    EXPECT_TRUE(candidate.anchor != 0 && candidate.anchor != 1 && candidate.anchor != 3);
  }
}

TEST(GridDecoder, ALevelWithoutItsObjectnessIsRefused) {
  HeadSpec head = grid_head(kClasses, kStrides);
  head.maps[1].stride = 4;
  const auto decoder = create_decoder(model_with(head));
  ASSERT_FALSE(decoder);
  EXPECT_THAT(decoder.error().message, HasSubstr("stride 8 has no map of objectness"));
}

TEST(PairDecoder, ReadsCornersAndScoresInBothLayouts) {
  std::mt19937 random(4);
  constexpr std::int64_t kAnchors = 2500;  // more than one block
  std::vector<float> boxes;
  std::vector<float> scores;
  for (std::int64_t a = 0; a < kAnchors; ++a) {
    const float x = 30 + next(random);
    const float y = 15 + next(random);
    boxes.insert(boxes.end(), {x - 4, y - 5, x + 6, y + 7});
    for (std::uint32_t c = 0; c < kClasses; ++c) {
      scores.push_back(static_cast<float>(sigmoid(2 * next(random))));
    }
  }
  std::vector<Candidate> first;
  for (const AnchorAxis axis : {AnchorAxis::kOutermost, AnchorAxis::kInnermost}) {
    Head head;
    head.add("boxes", {kAnchors, 4});
    head.maps[0].values = boxes;
    if (axis == AnchorAxis::kOutermost) {
      head.add("scores", {kAnchors, kClasses});
      head.maps[1].values = scores;
    } else {
      head.add("scores", {kClasses, kAnchors});
      for (std::size_t i = 0; i < scores.size(); ++i) {
        head.maps[1].values[i % kClasses * kAnchors + i / kClasses] = scores[i];
      }
    }
    auto decoder = create_decoder(model_with(pair_head(kClasses, axis)));
    ASSERT_TRUE(decoder) << decoder.error().message;
    PostprocessOptions options;
    options.score_threshold = 0.9F;
    options.max_candidates = PostprocessOptions::kMaxCandidates;
    ASSERT_TRUE((*decoder)->set_options(options));
    std::vector<Candidate> got;
    const auto decoded = (*decoder)->decode(head.tensors(), got);
    ASSERT_TRUE(decoded) << decoded.error().message;
    ASSERT_GT(got.size(), 50u);
    for (const Candidate& candidate : got) {
      const float* row = &scores[std::size_t{candidate.anchor} * kClasses];
      EXPECT_EQ(candidate.score, *std::max_element(row, row + kClasses));
      EXPECT_EQ(candidate.score, row[candidate.class_id]);
      EXPECT_EQ(candidate.x1, boxes[std::size_t{candidate.anchor} * 4]);
      EXPECT_EQ(candidate.y2, boxes[std::size_t{candidate.anchor} * 4 + 3]);
    }
    const auto passing = [&] {
      std::size_t count = 0;
      for (std::size_t a = 0; a < static_cast<std::size_t>(kAnchors); ++a) {
        const float* row = &scores[a * kClasses];
        count += *std::max_element(row, row + kClasses) > 0.9F ? 1 : 0;
      }
      return count;
    };
    EXPECT_EQ(got.size(), passing());
    if (first.empty()) first = got;
    EXPECT_EQ(got, first);
  }
}

TEST(PairDecoder, ATensorOfAnotherShapeIsRefused) {
  auto decoder = create_decoder(model_with(pair_head(kClasses)));
  ASSERT_TRUE(decoder);
  Head head;
  head.add("boxes", {10, 4});
  head.add("scores", {11, kClasses});
  std::vector<Candidate> got;
  const auto decoded = (*decoder)->decode(head.tensors(), got);
  ASSERT_FALSE(decoded);
  EXPECT_THAT(decoded.error().message,
              HasSubstr("scores has the shape [11, 3]; it must be [10, 3]"));
}

}  // namespace
}  // namespace fovea::test
