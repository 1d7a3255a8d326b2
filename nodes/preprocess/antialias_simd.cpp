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

constexpr std::int32_t kHalf = 1 << (kWeightBits - 1);

// A pixel per vector, its fourth lane unused.
void filter_colour(const std::uint8_t* row, const Window* windows, const std::int32_t* weights,
                   std::size_t stride, std::size_t count, std::uint8_t* out) {
  const hn::FixedTag<std::int32_t, 4> d32;
  const hn::FixedTag<std::uint8_t, 4> d8;
  for (std::size_t x = 0; x < count; ++x) {
    const std::uint8_t* pixel = row + std::size_t{3} * windows[x].first;
    const std::int32_t* weight = weights + x * stride;
    const std::size_t taps = windows[x].count;
    const auto term = [&](std::size_t k) HWY_ATTR {
      return hn::Mul(hn::PromoteTo(d32, hn::LoadU(d8, pixel + 3 * k)), hn::Set(d32, weight[k]));
    };
    // Two sums, so that additions do not wait for each other.
    auto even = hn::Set(d32, kHalf);
    auto odd = hn::Zero(d32);
    std::size_t k = 0;
    for (; k + 2 <= taps; k += 2) {
      even = hn::Add(even, term(k));
      odd = hn::Add(odd, term(k + 1));
    }
    if (k < taps) even = hn::Add(even, term(k));
    const auto sum = hn::ShiftRight<kWeightBits>(hn::Add(even, odd));
    hn::StoreU(hn::DemoteTo(d8, sum), d8, out + 3 * x);
  }
}

// Four taps per vector; those behind the window weigh nothing.
void filter_mono(const std::uint8_t* row, const Window* windows, const std::int32_t* weights,
                 std::size_t stride, std::size_t count, std::uint8_t* out) {
  const hn::FixedTag<std::int32_t, kWeightStep> d32;
  const hn::FixedTag<std::uint8_t, kWeightStep> d8;
  for (std::size_t x = 0; x < count; ++x) {
    const std::uint8_t* samples = row + windows[x].first;
    auto sums = hn::Zero(d32);
    for (std::size_t k = 0; k < windows[x].count; k += kWeightStep) {
      sums = hn::Add(sums, hn::Mul(hn::PromoteTo(d32, hn::LoadU(d8, samples + k)),
                                   hn::LoadU(d32, weights + x * stride + k)));
    }
    const std::int32_t sum = hn::GetLane(hn::SumOfLanes(d32, sums)) + kHalf;
    out[x] = static_cast<std::uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
  }
}

void add_rows(const std::uint8_t* const* rows, const std::int32_t* weights, std::size_t taps,
              std::size_t count, std::uint8_t* out) {
  const hn::ScalableTag<std::int32_t> d32;
  const hn::Rebind<std::uint8_t, decltype(d32)> d8;
  const std::size_t lanes = hn::Lanes(d32);
  // The last vector lies against the end and repeats what the one before it did.
  for (std::size_t i = 0; count >= lanes && i < count; i += lanes) {
    i = std::min(i, count - lanes);
    auto sum = hn::Set(d32, kHalf);
    for (std::size_t k = 0; k < taps; ++k) {
      sum = hn::Add(
          sum, hn::Mul(hn::PromoteTo(d32, hn::LoadU(d8, rows[k] + i)), hn::Set(d32, weights[k])));
    }
    hn::StoreU(hn::DemoteTo(d8, hn::ShiftRight<kWeightBits>(sum)), d8, out + i);
  }
  if (count < lanes) scalar_kernels().add_rows(rows, weights, taps, count, out);
}

constexpr Kernels kKernels{filter_colour, filter_mono, add_rows};

}  // namespace

const Kernels* target_kernels() { return &kKernels; }

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
