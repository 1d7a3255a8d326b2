// The kernels with Highway, compiled once per instruction set and chosen at run time.
#include <algorithm>

#include "nodes/base/simd_target.hpp"
#include "nodes/preprocess/antialias_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nodes/preprocess/antialias_simd.cpp"
// Highway needs this order.
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace fovea::antialias_kernels {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR  // a CPU without vectors
const Kernels* target_kernels() { return &scalar_kernels(); }
#else

namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Row vectors of scalable length cannot stand in an array; such CPUs turn blocks sample by sample.
#if !HWY_HAVE_SCALABLE
// 16x16 bytes. Interleaving each row with the one eight further on, four times, turns them.
template <class LoadRow, class StoreRow>
HWY_INLINE void transpose(LoadRow load_row, StoreRow store_row) {
  const hn::FixedTag<std::uint8_t, kRows> d8;
  hn::Vec<decltype(d8)> from[kRows], to[kRows];
  for (std::size_t r = 0; r < kRows; ++r) from[r] = hn::LoadU(d8, load_row(r));
  for (int step = 0; step < 4; ++step) {
    for (std::size_t r = 0; r < kRows / 2; ++r) {
      to[2 * r] = hn::InterleaveLower(d8, from[r], from[r + kRows / 2]);
      to[2 * r + 1] = hn::InterleaveUpper(d8, from[r], from[r + kRows / 2]);
    }
    for (std::size_t r = 0; r < kRows; ++r) from[r] = to[r];
  }
  for (std::size_t r = 0; r < kRows; ++r) hn::StoreU(from[r], d8, store_row(r));
}

// In all kernels below: the last vector lies against the end and repeats some of the one before it.

void gather_rows(const std::uint8_t* const* rows, std::size_t count, std::uint8_t* block) {
  if (count < kRows) return scalar_kernels().gather_rows(rows, count, block);
  for (std::size_t i = 0; i < count; i += kRows) {
    i = std::min(i, count - kRows);
    transpose([&](std::size_t r) { return rows[r] + i; },
              [&](std::size_t sample) { return block + (i + sample) * kRows; });
  }
}

void scatter_rows(const std::uint8_t* block, std::size_t count, std::uint8_t* const* rows) {
  if (count < kRows) return scalar_kernels().scatter_rows(block, count, rows);
  for (std::size_t i = 0; i < count; i += kRows) {
    i = std::min(i, count - kRows);
    transpose([&](std::size_t sample) { return block + (i + sample) * kRows; },
              [&](std::size_t r) { return rows[r] + i; });
  }
}
#endif

// The weighted sum of `taps` vectors of samples, rounded to 8 bits.
template <class D32, class SamplesOf>
HWY_INLINE void weigh(D32 d32, std::size_t taps, const std::int32_t* weights, SamplesOf samples_of,
                      std::uint8_t* out) {
  const hn::Rebind<std::uint8_t, D32> d8;
  auto sum = hn::Set(d32, 1 << (kWeightBits - 1));
  for (std::size_t k = 0; k < taps; ++k) {
    const auto samples = hn::PromoteTo(d32, hn::LoadU(d8, samples_of(k)));
    sum = hn::Add(sum, hn::Mul(samples, hn::Set(d32, weights[k])));
  }
  hn::StoreU(hn::DemoteTo(d8, hn::ShiftRight<kWeightBits>(sum)), d8, out);
}

void filter_block(const std::uint8_t* block, const Window* windows, const std::int32_t* weights,
                  std::size_t stride, std::size_t channels, std::size_t count, std::uint8_t* out) {
  const hn::CappedTag<std::int32_t, kRows> d32;
  const std::size_t pixel = channels * kRows;
  for (std::size_t x = 0; x < count; ++x) {
    const std::uint8_t* first = block + windows[x].first * pixel;
    for (std::size_t lane = 0; lane < pixel; lane += hn::Lanes(d32)) {
      weigh(
          d32, windows[x].count, weights + x * stride,
          [&](std::size_t k) { return first + k * pixel + lane; }, out + x * pixel + lane);
    }
  }
}

void add_rows(const std::uint8_t* const* rows, const std::int32_t* weights, std::size_t taps,
              std::size_t count, std::uint8_t* out) {
  const hn::ScalableTag<std::int32_t> d32;
  const std::size_t lanes = hn::Lanes(d32);
  if (count < lanes) return scalar_kernels().add_rows(rows, weights, taps, count, out);
  for (std::size_t i = 0; i < count; i += lanes) {
    i = std::min(i, count - lanes);
    weigh(
        d32, taps, weights, [&](std::size_t k) { return rows[k] + i; }, out + i);
  }
}

}  // namespace

const Kernels* target_kernels() {
#if HWY_HAVE_SCALABLE
  static const Kernels kKernels{scalar_kernels().gather_rows, scalar_kernels().scatter_rows,
                                filter_block, add_rows};
#else
  static constexpr Kernels kKernels{gather_rows, scatter_rows, filter_block, add_rows};
#endif
  return &kKernels;
}

#endif  // HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace fovea::antialias_kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::antialias_kernels {

HWY_EXPORT(target_kernels);

namespace {

const Kernels* kernels_of(std::int64_t targets) {
#if (HWY_TARGETS & (HWY_TARGETS - 1)) == 0
  static_cast<void>(targets);  // built for one instruction set only
  return HWY_STATIC_DISPATCH(target_kernels)();
#else
  return HWY_DISPATCH_TABLE(target_kernels)[simd::table_index(targets)]();
#endif
}

}  // namespace

const Kernels& best_kernels() {
  static const Kernels& kernels =
      simd::scalar_requested() ? scalar_kernels() : *kernels_of(simd::allowed_targets());
  return kernels;
}

std::vector<NamedKernels> all_kernels() {
  std::vector<NamedKernels> all{{"scalar", &scalar_kernels()}};
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    all.push_back({hwy::TargetName(target), kernels_of(target)});
  }
  return all;
}

}  // namespace fovea::antialias_kernels
#endif  // HWY_ONCE
