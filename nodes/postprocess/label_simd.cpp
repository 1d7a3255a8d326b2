// The kernels with Highway, compiled once per instruction set and chosen at run time.

#include <limits>

#include "nodes/base/simd_target.hpp"
#include "nodes/postprocess/label_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nodes/postprocess/label_simd.cpp"
// Highway needs this order.
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace fovea::label_kernels {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR  // a CPU without vectors
const Kernels* target_kernels() { return &scalar_kernels(); }
#else

namespace {

namespace hn = hwy::HWY_NAMESPACE;

std::size_t find_candidates(const float* const (&corners)[4], std::size_t count,
                            std::uint16_t* found, bool& finite) {
  const hn::CappedTag<float, 16> d;
  const std::size_t lanes = hn::Lanes(d);
  if (count < lanes) return scalar_kernels().find_candidates(corners, count, found, finite);
  const auto zero = hn::Zero(d);
  auto not_finite = zero;  // 0 * x is NaN for NaN and infinity, and stays
  auto floor = hn::Set(d, -std::numeric_limits<float>::infinity());
  // The last vector reaches back over classes that were seen: no number changes by that.
  for (std::size_t c = 0; c < count; c += lanes) {
    const std::size_t at = c + lanes <= count ? c : count - lanes;
    auto lowest = hn::LoadU(d, corners[0] + at);
    not_finite = hn::MulAdd(lowest, zero, not_finite);
    for (std::size_t k = 1; k < 4; ++k) {
      const auto corner = hn::LoadU(d, corners[k] + at);
      not_finite = hn::MulAdd(corner, zero, not_finite);
      lowest = hn::Min(lowest, corner);
    }
    floor = hn::Max(floor, lowest);
  }
  finite = finite && hn::AllTrue(d, hn::Eq(not_finite, zero));
  const float least = hn::GetLane(hn::MaxOfLanes(d, floor));
  const auto limit = hn::Set(d, least);
  std::size_t number = 0;
  for (std::size_t c = 0; c < count; c += lanes) {
    const std::size_t at = c + lanes <= count ? c : count - lanes;
    const auto highest =
        hn::Max(hn::Max(hn::LoadU(d, corners[0] + at), hn::LoadU(d, corners[1] + at)),
                hn::Max(hn::LoadU(d, corners[2] + at), hn::LoadU(d, corners[3] + at)));
    if (hn::AllFalse(d, hn::Ge(highest, limit))) continue;
    for (std::size_t i = c; i < at + lanes; ++i) {
      bool above = false;
      for (const float* corner : corners) above = above || corner[i] >= least;
      found[number] = static_cast<std::uint16_t>(i);
      number += above ? 1 : 0;
    }
  }
  return number;
}

void choose(const Line* lines, std::size_t line_count, const float* shares, std::size_t count,
            std::uint8_t* labels) {
  const hn::CappedTag<float, 8> d;
  const hn::Rebind<std::int32_t, decltype(d)> d32;
  const hn::Rebind<std::uint8_t, decltype(d)> d8;
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
    const auto share = hn::LoadU(d, shares + i);
    auto best = hn::MulAdd(share, hn::Set(d, lines[0].step), hn::Set(d, lines[0].left));
    auto label = hn::Set(d, lines[0].label);
    for (std::size_t k = 1; k < line_count; ++k) {
      const auto value = hn::MulAdd(share, hn::Set(d, lines[k].step), hn::Set(d, lines[k].left));
      const auto above = hn::Gt(value, best);
      best = hn::Max(value, best);
      label = hn::IfThenElse(above, hn::Set(d, lines[k].label), label);
    }
    hn::StoreU(hn::DemoteTo(d8, hn::ConvertTo(d32, label)), d8, labels + i);
  }
}

std::size_t run_length(const std::uint8_t* labels, std::size_t count) {
  const hn::CappedTag<std::uint8_t, kPad> d;
  const std::size_t lanes = hn::Lanes(d);
  const auto first = hn::Set(d, labels[0]);
  std::size_t length = 0;
  for (; length + lanes <= count; length += lanes) {
    const auto other = hn::Ne(hn::LoadU(d, labels + length), first);
    const auto at = hn::FindFirstTrue(d, other);
    if (at >= 0) return length + static_cast<std::size_t>(at);
  }
  while (length < count && labels[length] == labels[0]) ++length;
  return length;
}

constexpr Kernels kKernels{find_candidates, choose, run_length};

}  // namespace

const Kernels* target_kernels() { return &kKernels; }

#endif  // HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace fovea::label_kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::label_kernels {

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

}  // namespace fovea::label_kernels
#endif  // HWY_ONCE
