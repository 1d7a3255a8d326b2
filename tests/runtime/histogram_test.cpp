#include "nodes/runtime/figures/histogram.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

constexpr double kBound = 1.0 / 32;

TEST(Histogram, EmptyHasZeroesEverywhere) {
  const auto histogram = std::make_unique<Histogram>();
  EXPECT_EQ(histogram->count(), 0u);
  EXPECT_EQ(histogram->mean(), 0.0);
  EXPECT_EQ(histogram->max(), 0u);
  for (const double q : {0.0, 0.5, 1.0, -1.0, 2.0, std::nan("")})
    EXPECT_EQ(histogram->quantile(q), 0.0);
}

TEST(Histogram, EverySingleValueComesBackWithinTheBound) {
  std::vector<std::uint64_t> values;
  for (std::uint64_t v = 0; v < 5000; ++v) values.push_back(v);
  for (int bit = 12; bit < 37; ++bit) {
    const std::uint64_t power = std::uint64_t{1} << bit;
    for (const std::uint64_t v : {power - 1, power, power + 1, power + power / 3})
      values.push_back(v);
  }
  for (const std::uint64_t v : values) {
    if (v >= std::uint64_t{1} << 37) continue;
    // A second, larger sample keeps max() from hiding the bucket's error.
    auto histogram = std::make_unique<Histogram>();
    histogram->record(v);
    histogram->record(v + v / 2 + 1);
    const double seen = histogram->quantile(0.25);
    const double truth = static_cast<double>(v);
    EXPECT_LE(std::abs(seen - truth), truth * kBound) << v;
    if (v < 32) {
      EXPECT_EQ(seen, truth);  // exact
    }
  }
}

TEST(Histogram, QuantilesOfRandomSamplesStayWithinTheBound) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latency(9.0, 2.0);
  auto histogram = std::make_unique<Histogram>();
  std::vector<std::uint64_t> samples;
  for (int i = 0; i < 20'000; ++i) {
    samples.push_back(static_cast<std::uint64_t>(latency(random)));
    histogram->record(samples.back());
  }
  std::sort(samples.begin(), samples.end());
  for (const double q : {0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank =
        static_cast<std::size_t>(std::max(1.0, std::ceil(q * static_cast<double>(samples.size()))));
    const auto truth = static_cast<double>(samples[rank - 1]);
    EXPECT_LE(std::abs(histogram->quantile(q) - truth), truth * kBound) << q;
  }
  double sum = 0;
  for (const std::uint64_t s : samples) sum += static_cast<double>(s);
  EXPECT_DOUBLE_EQ(histogram->mean(), sum / static_cast<double>(samples.size()));
  EXPECT_EQ(histogram->max(), samples.back());
}

TEST(Histogram, HugeValuesLandInTheLastBucketAndKeepTheirMaximum) {
  auto histogram = std::make_unique<Histogram>();
  histogram->record(~std::uint64_t{0});
  histogram->record(1);
  EXPECT_EQ(histogram->count(), 2u);
  EXPECT_EQ(histogram->max(), ~std::uint64_t{0});
  EXPECT_EQ(histogram->quantile(0.5), 1.0);
  EXPECT_GE(histogram->quantile(1.0), std::ldexp(1.0, 36));
}

TEST(Histogram, MergedEqualsRecordedTogether) {
  auto a = std::make_unique<Histogram>(), b = std::make_unique<Histogram>(),
       both = std::make_unique<Histogram>();
  for (std::uint64_t v = 0; v < 3000; ++v) {
    (v % 3 == 0 ? a : b)->record(v * v);
    both->record(v * v);
  }
  a->merge(*b);
  EXPECT_EQ(a->count(), both->count());
  EXPECT_EQ(a->sum(), both->sum());
  EXPECT_EQ(a->max(), both->max());
  for (double q = 0; q <= 1.0; q += 0.05) EXPECT_EQ(a->quantile(q), both->quantile(q)) << q;
}

TEST(Histogram, CountsUpToLimits) {
  auto histogram = std::make_unique<Histogram>();
  for (const std::uint64_t value : {1u, 10u, 10u, 1000u, 5000000u}) histogram->record(value);
  const std::array<std::uint64_t, 4> bounds{0, 10, 2000, 100000};
  std::array<std::uint64_t, 4> counts{};
  EXPECT_EQ(histogram->count_up_to(bounds, counts), 5u);
  EXPECT_EQ(counts, (std::array<std::uint64_t, 4>{0, 3, 4, 4}));
  histogram->clear();
  EXPECT_EQ(histogram->count_up_to(bounds, counts), 0u);
  EXPECT_EQ(counts, (std::array<std::uint64_t, 4>{}));
}

TEST(Histogram, ThreadsLoseNoSample) {
  auto histogram = std::make_unique<Histogram>();
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 10'000; ++i) histogram->record(t * 10'000 + i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(histogram->count(), 40'000u);
  EXPECT_EQ(histogram->sum(), std::uint64_t{40'000} * 39'999 / 2);
  EXPECT_EQ(histogram->max(), 39'999u);
}

TEST(Histogram, RecordingAllocatesNothing) {
  auto histogram = std::make_unique<Histogram>();
  const test::AllocationGuard guard;
  for (std::uint64_t v = 0; v < 1000; ++v) histogram->record(v);
  EXPECT_EQ(guard.count(), 0u);
}

}  // namespace
}  // namespace fovea
