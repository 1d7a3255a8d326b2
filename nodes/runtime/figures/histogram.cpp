#include "nodes/runtime/figures/histogram.hpp"

#include <algorithm>
#include <cmath>

namespace fovea {

namespace {
constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr std::uint64_t kSubBuckets = std::uint64_t{1} << Histogram::kSubBits;

void raise_to(std::atomic<std::uint64_t>& maximum, std::uint64_t value) {
  std::uint64_t seen = maximum.load(kRelaxed);
  while (seen < value && !maximum.compare_exchange_weak(seen, value, kRelaxed)) {
  }
}
}  // namespace

// Values below 32 have a bucket each; above, every octave [2^e, 2^(e+1)) is cut into 32 equal
// buckets.
std::size_t Histogram::bucket_of(std::uint64_t value) {
  if (value < kSubBuckets) return static_cast<std::size_t>(value);
  const int shift = static_cast<int>(std::bit_width(value)) - 1 - kSubBits;
  const std::uint64_t sub = (value >> shift) - kSubBuckets;
  const auto bucket = static_cast<std::uint64_t>(shift + 1) * kSubBuckets + sub;
  return static_cast<std::size_t>(std::min<std::uint64_t>(bucket, kBuckets - 1));
}

double Histogram::middle_of(std::size_t bucket) {
  if (bucket < kSubBuckets) return static_cast<double>(bucket);
  const int shift = static_cast<int>(bucket / kSubBuckets) - 1;
  const double first = std::ldexp(static_cast<double>(kSubBuckets + bucket % kSubBuckets), shift);
  return first +
         (std::ldexp(1.0, shift) - 1.0) / 2.0;  // of the integers first .. first + 2^shift - 1
}

void Histogram::record(std::uint64_t value) {
  buckets_[bucket_of(value)].fetch_add(1, kRelaxed);
  sum_.fetch_add(value, kRelaxed);
  raise_to(max_, value);
}

std::uint64_t Histogram::count() const {
  std::uint64_t total = 0;
  for (const auto& bucket : buckets_) total += bucket.load(kRelaxed);
  return total;
}

double Histogram::mean() const {
  const std::uint64_t samples = count();
  return samples == 0 ? 0.0 : static_cast<double>(sum()) / static_cast<double>(samples);
}

double Histogram::quantile(double q) const {
  const std::uint64_t samples = count();
  if (samples == 0) return 0.0;
  const double clamped = std::isnan(q) ? 0.0 : std::clamp(q, 0.0, 1.0);
  const auto rank = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(std::ceil(clamped * static_cast<double>(samples))));
  std::uint64_t passed = 0;
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    passed += buckets_[bucket].load(kRelaxed);
    if (passed >= rank) return std::min(middle_of(bucket), static_cast<double>(max()));
  }
  return static_cast<double>(max());
}

std::uint64_t Histogram::count_up_to(std::span<const std::uint64_t> bounds,
                                     std::span<std::uint64_t> counts) const {
  std::uint64_t passed = 0;
  std::size_t next = 0;
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    const std::uint64_t samples = buckets_[bucket].load(kRelaxed);
    if (samples == 0) continue;
    const double middle = middle_of(bucket);
    for (; next < bounds.size() && static_cast<double>(bounds[next]) < middle; ++next)
      counts[next] = passed;
    passed += samples;
  }
  for (; next < bounds.size(); ++next) counts[next] = passed;
  return passed;
}

void Histogram::clear() {
  for (auto& bucket : buckets_) bucket.store(0, kRelaxed);
  sum_.store(0, kRelaxed);
  max_.store(0, kRelaxed);
}

void Histogram::merge(const Histogram& other) {
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    if (const std::uint64_t n = other.buckets_[bucket].load(kRelaxed); n > 0) {
      buckets_[bucket].fetch_add(n, kRelaxed);
    }
  }
  sum_.fetch_add(other.sum(), kRelaxed);
  raise_to(max_, other.max());
}

}  // namespace fovea
