// Suppression against the textbook version on random sets, and its order and bounds.
#include "nodes/postprocess/nms.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using Numbers = std::vector<std::uint32_t>;

double iou(const Candidate& a, const Candidate& b) {
  const double width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const double height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  const auto area = [](const Candidate& c) {
    return static_cast<double>(c.x2 - c.x1) * static_cast<double>(c.y2 - c.y1);
  };
  return width * height / (area(a) + area(b) - width * height);
}

// Every pair, no shortcuts: each survivor deletes all that it overlaps.
Numbers naive(const std::vector<Candidate>& candidates, const PostprocessOptions& options) {
  Numbers order(candidates.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return candidates[a].score > candidates[b].score;
  });
  std::vector<bool> deleted(candidates.size());
  Numbers kept;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (deleted[order[i]]) continue;
    kept.push_back(order[i]);
    for (std::size_t j = i + 1; j < order.size(); ++j) {
      const Candidate& a = candidates[order[i]];
      const Candidate& b = candidates[order[j]];
      if (!options.class_agnostic && a.class_id != b.class_id) continue;
      if (iou(a, b) > static_cast<double>(options.iou_threshold)) deleted[order[j]] = true;
    }
  }
  kept.resize(std::min(kept.size(), options.max_detections));
  return kept;
}

std::vector<Candidate> random_candidates(std::size_t count, std::uint32_t classes,
                                         std::mt19937& random) {
  std::uniform_real_distribution<float> position(-20, 640), size(5, 150), score(0.01f, 1);
  std::vector<Candidate> candidates(count);
  for (Candidate& c : candidates) {
    c.x1 = position(random);
    c.y1 = position(random);
    c.x2 = c.x1 + size(random);
    c.y2 = c.y1 + size(random);
    // Rounded, so that equal scores are common.
    c.score = std::round(score(random) * 50) / 50;
    c.class_id = static_cast<std::uint32_t>(random() % classes);
  }
  return candidates;
}

Numbers run(NonMaximumSuppression& nms, const std::vector<Candidate>& candidates,
            const PostprocessOptions& options) {
  const auto kept = nms.run(candidates, options);
  return {kept.begin(), kept.end()};
}

TEST(Nms, EqualsTheNaiveOneOnRandomSets) {
  std::mt19937 random(1);
  NonMaximumSuppression best, scalar(true);
  for (int trial = 0; trial < 300; ++trial) {
    const std::size_t count = random() % 400;
    const auto candidates = random_candidates(count, trial % 3 == 0 ? 1 : 5, random);
    PostprocessOptions options;
    options.iou_threshold = static_cast<float>(random() % 11) / 10;
    options.class_agnostic = random() % 2 == 0;
    options.max_detections = 1 + random() % 300;
    const Numbers expected = naive(candidates, options);
    ASSERT_EQ(run(best, candidates, options), expected) << "trial " << trial;
    ASSERT_EQ(run(scalar, candidates, options), expected) << "trial " << trial;
  }
}

TEST(Nms, EqualScoresStayInTheOrderOfCandidates) {
  std::vector<Candidate> candidates;
  for (int i = 0; i < 100; ++i) {
    const auto x = static_cast<float>(10 * i);
    candidates.push_back({x, 0, x + 5, 5, 0.5f, 0});
  }
  NonMaximumSuppression nms;
  Numbers expected(100);
  std::iota(expected.begin(), expected.end(), 0u);
  EXPECT_EQ(run(nms, candidates, {}), expected);
}

TEST(Nms, OfIdenticalBoxesOneStaysUnlessClassesDiffer) {
  std::vector<Candidate> candidates(10, Candidate{0, 0, 10, 10, 0.5f, 3});
  candidates[6].score = 0.9f;
  candidates[8].class_id = 4;
  NonMaximumSuppression nms;
  EXPECT_EQ(run(nms, candidates, {}), (Numbers{6, 8}));
  PostprocessOptions agnostic;
  agnostic.class_agnostic = true;
  EXPECT_EQ(run(nms, candidates, agnostic), Numbers{6});
}

TEST(Nms, KeepsNoMoreThanAskedWhenNothingOverlaps) {
  std::vector<Candidate> candidates;
  for (int i = 0; i < 8400; ++i) {
    const auto x = static_cast<float>(8 * (i % 100));
    const auto y = static_cast<float>(8 * (i / 100));
    candidates.push_back({x, y, x + 7, y + 7, 0.3f + 1e-5f * static_cast<float>(i), 0});
  }
  NonMaximumSuppression nms;
  const Numbers kept = run(nms, candidates, {});
  ASSERT_EQ(kept.size(), 300u);
  for (std::uint32_t i = 0; i < 300; ++i) EXPECT_EQ(kept[i], 8399 - i);
}

TEST(Nms, NothingInNothingOut) {
  NonMaximumSuppression nms;
  EXPECT_TRUE(run(nms, {}, {}).empty());
}

TEST(Nms, RunsWithoutAllocating) {
  std::mt19937 random(2);
  const auto candidates = random_candidates(1000, 80, random);
  const PostprocessOptions options;
  NonMaximumSuppression nms;
  nms.reserve(candidates.size());
  const test::AllocationGuard guard;
  const std::size_t kept = nms.run(candidates, options).size();
  EXPECT_EQ(guard.count(), 0u);
  EXPECT_GT(kept, 0u);
}

}  // namespace
}  // namespace fovea
