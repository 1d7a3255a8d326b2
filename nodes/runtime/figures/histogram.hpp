// Log-linear histogram of non-negative integers (we record microseconds): fixed memory, mergeable,
// at most 1/32 relative error. Lives in shared memory, so readers need no request and a crash loses
// nothing.
//
// Thread and process safety: record() from any thread; readers may run at the same time.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <span>

namespace fovea {

class Histogram {
 public:
  static constexpr int kSubBits = 5;   // 32 buckets per octave
  static constexpr int kOctaves = 32;  // up to 2^37 - 1; larger values land in the last bucket
  static constexpr std::size_t kBuckets = (kOctaves + 1) << kSubBits;

  void record(std::uint64_t value);

  std::uint64_t count() const;
  std::uint64_t sum() const { return sum_.load(std::memory_order_relaxed); }
  std::uint64_t max() const { return max_.load(std::memory_order_relaxed); }
  double mean() const;

  // Value at quantile q in [0, 1] (nearest rank, never above max()); 0 when empty. Within 1/32 of
  // the true value.
  double quantile(double q) const;

  // How many samples are at most bounds[i], for each i; returns how many there are. Within 1/32 of
  // the bound, as quantile(). REQUIRES: rising bounds, as many counts.
  std::uint64_t count_up_to(std::span<const std::uint64_t> bounds,
                            std::span<std::uint64_t> counts) const;

  // Of no samples again. Not while others record.
  void clear();

  // Adds other's samples to this one.
  void merge(const Histogram& other);

 private:
  static std::size_t bucket_of(std::uint64_t value);
  static double middle_of(std::size_t bucket);

  std::array<std::atomic<std::uint64_t>, kBuckets> buckets_{};
  std::atomic<std::uint64_t> sum_{0};
  std::atomic<std::uint64_t> max_{0};
};

}  // namespace fovea
