// Every instruction set this CPU has agrees with the readable kernels, NaN and infinity included.
#include "nodes/postprocess/decode_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace fovea::decode_kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

float odd_value(std::mt19937& random) {
  switch (random() % 40) {
    case 0:
      return kNan;
    case 1:
      return -kInfinity;
    case 2:
      return random() % 8 == 0 ? kInfinity : -3.0f;
    case 3:
      return 2.5f;  // equal to a threshold
    default:
      return std::normal_distribution<float>(-4, 3)(random);
  }
}

bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

std::vector<float> make_thresholds(std::size_t classes, std::mt19937& random) {
  std::vector<float> thresholds(padded(classes), kInfinity);
  for (std::size_t c = 0; c < classes; ++c) thresholds[c] = random() % 2 == 0 ? 2.5f : 4.0f;
  return thresholds;
}

TEST(DecodeKernels, EveryIsaFindsTheSameRows) {
  std::mt19937 random(1);
  for (const std::size_t columns : {1, 2, 3, 15, 16, 17, 64, 65, 80, 365, 1024}) {
    for (const std::size_t rows : {1, 2, 7, 100}) {
      // Exactly as long as the map, so that ASan sees a read behind it.
      std::vector<float> values(rows * columns);
      for (float& value : values) value = odd_value(random);
      const auto thresholds = make_thresholds(columns, random);
      std::vector<std::uint32_t> expected(rows);
      bool finite = true;
      expected.resize(scalar_kernels().find_rows(values.data(), rows, columns, thresholds.data(),
                                                 expected.data(), finite));
      ASSERT_EQ(finite, all_finite(values));
      for (const NamedKernels& candidate : all_kernels()) {
        std::vector<std::uint32_t> got(rows);
        bool got_finite = true;
        got.resize(candidate.kernels->find_rows(values.data(), rows, columns, thresholds.data(),
                                                got.data(), got_finite));
        ASSERT_EQ(got_finite, finite) << candidate.name;
        ASSERT_EQ(got, expected) << candidate.name << " [" << rows << ", " << columns << "]";
      }
    }
  }
}

TEST(DecodeKernels, EveryIsaFindsTheSameColumns) {
  std::mt19937 random(2);
  for (const std::size_t rows : {1, 3, 80}) {
    const auto thresholds = make_thresholds(rows, random);
    for (const std::size_t count : {1, 15, 16, 17, 208, 1023, 1024}) {
      const std::size_t stride = count + random() % 3;
      std::vector<float> values((rows - 1) * stride + count);
      for (float& value : values) value = odd_value(random);
      std::vector<std::uint32_t> expected(count);
      bool finite = true;
      expected.resize(scalar_kernels().find_columns(values.data(), rows, stride, count,
                                                    thresholds.data(), expected.data(), finite));
      if (stride == count) {
        ASSERT_EQ(finite, all_finite(values));
      }
      for (const NamedKernels& candidate : all_kernels()) {
        std::vector<std::uint32_t> got(count);
        bool got_finite = true;
        got.resize(candidate.kernels->find_columns(values.data(), rows, stride, count,
                                                   thresholds.data(), got.data(), got_finite));
        ASSERT_EQ(got_finite, finite) << candidate.name;
        ASSERT_EQ(got, expected) << candidate.name << " [" << rows << ", " << count << "]";
      }
    }
  }
}

TEST(DecodeKernels, OneValueThatIsNotFiniteIsSeenWhereverItIs) {
  for (const std::size_t columns : {1, 3, 16, 80}) {
    constexpr std::size_t kRows = 5;
    const std::vector<float> thresholds(padded(columns), kInfinity);
    std::vector<std::uint32_t> found(kColumnBlock);
    for (std::size_t at = 0; at < kRows * columns; ++at) {
      for (const float broken : {kNan, kInfinity, -kInfinity}) {
        std::vector<float> values(kRows * columns, 1.0f);
        values[at] = broken;
        for (const NamedKernels& kernels : all_kernels()) {
          bool by_rows = true;
          kernels.kernels->find_rows(values.data(), kRows, columns, thresholds.data(), found.data(),
                                     by_rows);
          bool by_columns = true;
          kernels.kernels->find_columns(values.data(), kRows, columns, columns, thresholds.data(),
                                        found.data(), by_columns);
          ASSERT_FALSE(by_rows || by_columns) << kernels.name << " " << at << " of " << columns;
        }
      }
    }
  }
}

TEST(DecodeKernels, EveryIsaExpectsTheSameBin) {
  std::mt19937 random(3);
  for (const std::size_t bins : {2, 7, 8, 16, 17, 32, 64}) {
    for (const float spread : {0.1f, 3.0f, 60.0f}) {
      std::vector<float> logits(bins);
      for (float& value : logits) value = std::normal_distribution<float>(0, spread)(random);
      double sum = 0, weighted = 0;
      for (std::size_t i = 0; i < bins; ++i) {
        const double weight = std::exp(static_cast<double>(logits[i] - logits[0]));
        sum += weight;
        weighted += weight * static_cast<double>(i);
      }
      for (const NamedKernels& candidate : all_kernels()) {
        ASSERT_NEAR(candidate.kernels->expected_bin(logits.data(), bins), weighted / sum, 2e-5)
            << candidate.name << " bins " << bins << " spread " << spread;
      }
    }
  }
}

TEST(DecodeKernels, EveryIsaGivesNoFiniteBinForNan) {
  std::vector<float> logits(16, 1.0f);
  logits[5] = kNan;
  for (const NamedKernels& candidate : all_kernels()) {
    EXPECT_FALSE(std::isfinite(candidate.kernels->expected_bin(logits.data(), 16)))
        << candidate.name;
  }
}

TEST(DecodeKernels, EveryIsaWeighsTheSame) {
  std::mt19937 random(8);
  std::normal_distribution<float> normal(0, 1);
  for (const std::size_t columns : {1, 7, 8, 16, 32, 33, 48}) {
    std::vector<float> values(5 * columns), weights(columns);
    for (float& value : values) value = normal(random);
    for (float& value : weights) value = normal(random);
    for (const NamedKernels& candidate : all_kernels()) {
      std::array<float, 5> sums{};
      candidate.kernels->weighted_sums(values.data(), 5, columns, weights.data(), sums.data());
      for (std::size_t row = 0; row < 5; ++row) {
        double expected = 0;
        for (std::size_t c = 0; c < columns; ++c) {
          expected += double{values[row * columns + c]} * double{weights[c]};
        }
        EXPECT_NEAR(sums[row], expected, 1e-4) << candidate.name << " of " << columns;
      }
    }
  }
}

TEST(DecodeKernels, EveryIsaSeesTheSameOverlaps) {
  std::mt19937 random(4);
  std::uniform_real_distribution<float> position(0, 100), size(1, 40);
  int hits = 0;
  for (const std::size_t count : {0, 1, 15, 16, 17, 300}) {
    KeptBoxes kept;
    for (; kept.count < count; ++kept.count) {
      const std::size_t i = kept.count;
      kept.x1[i] = position(random);
      kept.y1[i] = position(random);
      kept.x2[i] = kept.x1[i] + size(random);
      kept.y2[i] = kept.y1[i] + size(random);
      kept.area[i] = (kept.x2[i] - kept.x1[i]) * (kept.y2[i] - kept.y1[i]);
      kept.class_id[i] = static_cast<float>(random() % 5);
    }
    for (int trial = 0; trial < 500; ++trial) {
      Query query{position(random), position(random), 0, 0, 0, static_cast<float>(random() % 5)};
      query.x2 = query.x1 + size(random);
      query.y2 = query.y1 + size(random);
      query.area = (query.x2 - query.x1) * (query.y2 - query.y1);
      const bool expected = scalar_kernels().overlaps_any(kept, query, 0.4f);
      hits += expected ? 1 : 0;
      for (const NamedKernels& candidate : all_kernels()) {
        ASSERT_EQ(candidate.kernels->overlaps_any(kept, query, 0.4f), expected) << candidate.name;
      }
    }
  }
  EXPECT_GT(hits, 100);
}

}  // namespace
}  // namespace fovea::decode_kernels
