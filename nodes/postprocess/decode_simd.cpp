// The kernels with Highway, compiled once per instruction set and chosen at run time.

#include <cmath>

#include "nodes/base/simd_target.hpp"
#include "nodes/postprocess/decode_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nodes/postprocess/decode_simd.cpp"
// Highway needs this order.
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace fovea::decode_kernels {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR  // a CPU without vectors
const Kernels* target_kernels() { return &scalar_kernels(); }
#else

namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Comparing before reducing, and never taking a maximum, makes NaN harmless: it is above nothing
// and hides nothing.
std::size_t find_rows(const float* values, std::size_t rows, std::size_t columns,
                      const float* thresholds, std::uint32_t* found, bool& finite) {
  const hn::CappedTag<float, kPad> d;
  const std::size_t lanes = hn::Lanes(d);
  const auto zero = hn::Zero(d);
  auto not_finite = zero;  // 0 * x is NaN for NaN and infinity, and stays
  const std::size_t whole = (columns + lanes - 1) / lanes * lanes;
  std::size_t count = 0;
  std::size_t row = 0;
  // The last vector of a row reaches into the next row, where the thresholds are infinite; the last
  // rows have no next one.
  for (; row * columns + whole <= rows * columns; ++row) {
    const float* scores = values + row * columns;
    const auto first = hn::LoadU(d, scores);
    auto above = hn::Gt(first, hn::LoadU(d, thresholds));
    not_finite = hn::MulAdd(first, zero, not_finite);
    for (std::size_t c = lanes; c < columns; c += lanes) {
      const auto next = hn::LoadU(d, scores + c);
      above = hn::Or(above, hn::Gt(next, hn::LoadU(d, thresholds + c)));
      not_finite = hn::MulAdd(next, zero, not_finite);
    }
    found[count] = static_cast<std::uint32_t>(row);
    count += hn::AllFalse(d, above) ? 0 : 1;
  }
  const std::size_t last = scalar_kernels().find_rows(values + row * columns, rows - row, columns,
                                                      thresholds, found + count, finite);
  for (std::size_t i = 0; i < last; ++i) found[count + i] += static_cast<std::uint32_t>(row);
  finite = finite && hn::AllTrue(d, hn::Eq(not_finite, zero));
  return count + last;
}

std::size_t find_columns(const float* values, std::size_t rows, std::size_t stride,
                         std::size_t count, const float* thresholds, std::uint32_t* found,
                         bool& finite) {
  const hn::CappedTag<float, kPad> d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t whole = count / lanes * lanes;
  const auto zero = hn::Zero(d);
  auto not_finite = zero;
  alignas(64) std::array<float, kColumnBlock> above{};
  for (std::size_t row = 0; row < rows; ++row) {
    const float* scores = values + row * stride;
    const auto threshold = hn::Set(d, thresholds[row]);
    const auto one = hn::Set(d, 1.0f);
    for (std::size_t i = 0; i < whole; i += lanes) {
      const auto score = hn::LoadU(d, scores + i);
      const auto passes = hn::Gt(score, threshold);
      not_finite = hn::MulAdd(score, zero, not_finite);
      hn::Store(hn::IfThenElse(passes, one, hn::Load(d, above.data() + i)), d, above.data() + i);
    }
    for (std::size_t i = whole; i < count; ++i) {
      if (scores[i] > thresholds[row]) above[i] = 1;
      finite = finite && std::isfinite(scores[i]);
    }
  }
  finite = finite && hn::AllTrue(d, hn::Eq(not_finite, zero));
  std::size_t found_count = 0;
  for (std::size_t i = 0; i < count; ++i) {
    found[found_count] = static_cast<std::uint32_t>(i);
    found_count += above[i] != 0 ? 1 : 0;
  }
  return found_count;
}

float expected_bin(const float* logits, std::size_t bins) {
  const hn::CappedTag<float, 16> d;
  const std::size_t lanes = hn::Lanes(d);
  if (bins % lanes != 0) return scalar_kernels().expected_bin(logits, bins);
  auto highest = hn::LoadU(d, logits);
  for (std::size_t i = lanes; i < bins; i += lanes) {
    highest = hn::Max(highest, hn::LoadU(d, logits + i));
  }
  highest = hn::MaxOfLanes(d, highest);
  auto sum = hn::Zero(d);
  auto weighted = hn::Zero(d);
  for (std::size_t i = 0; i < bins; i += lanes) {
    const auto logit = hn::Sub(hn::LoadU(d, logits + i), highest);
    // Exp() makes NaN 0, which would hide it.
    const auto weight = hn::IfThenElse(hn::Eq(logit, logit), hn::Exp(d, logit), logit);
    sum = hn::Add(sum, weight);
    weighted = hn::MulAdd(weight, hn::Iota(d, static_cast<float>(i)), weighted);
  }
  return hn::GetLane(hn::SumOfLanes(d, weighted)) / hn::GetLane(hn::SumOfLanes(d, sum));
}

void weighted_sums(const float* values, std::size_t rows, std::size_t columns, const float* weights,
                   float* sums) {
  const hn::CappedTag<float, 16> d;
  const std::size_t lanes = hn::Lanes(d);
  if (columns % lanes != 0) {
    return scalar_kernels().weighted_sums(values, rows, columns, weights, sums);
  }
  for (std::size_t row = 0; row < rows; ++row) {
    auto sum = hn::Zero(d);
    for (std::size_t c = 0; c < columns; c += lanes) {
      sum = hn::MulAdd(hn::LoadU(d, values + row * columns + c), hn::LoadU(d, weights + c), sum);
    }
    sums[row] = hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

bool overlaps_any(const KeptBoxes& kept, const Query& query, float threshold) {
  const hn::CappedTag<float, kPad> d;
  const auto x1 = hn::Set(d, query.x1);
  const auto y1 = hn::Set(d, query.y1);
  const auto x2 = hn::Set(d, query.x2);
  const auto y2 = hn::Set(d, query.y2);
  const auto area = hn::Set(d, query.area);
  const auto class_id = hn::Set(d, query.class_id);
  const auto limit = hn::Set(d, threshold);
  const auto zero = hn::Zero(d);
  for (std::size_t i = 0; i < kept.count; i += hn::Lanes(d)) {
    const auto same = hn::Eq(hn::Load(d, &kept.class_id[i]), class_id);
    if (hn::AllFalse(d, same)) continue;
    const auto width =
        hn::Sub(hn::Min(hn::Load(d, &kept.x2[i]), x2), hn::Max(hn::Load(d, &kept.x1[i]), x1));
    const auto height =
        hn::Sub(hn::Min(hn::Load(d, &kept.y2[i]), y2), hn::Max(hn::Load(d, &kept.y1[i]), y1));
    const auto intersection = hn::Mul(hn::Max(width, zero), hn::Max(height, zero));
    const auto either = hn::Sub(hn::Add(hn::Load(d, &kept.area[i]), area), intersection);
    const auto suppressed = hn::And(same, hn::Gt(intersection, hn::Mul(limit, either)));
    if (!hn::AllFalse(d, suppressed)) return true;
  }
  return false;
}

constexpr Kernels kKernels{find_rows, find_columns, expected_bin, weighted_sums, overlaps_any};

}  // namespace

const Kernels* target_kernels() { return &kKernels; }

#endif  // HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace fovea::decode_kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::decode_kernels {

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

}  // namespace fovea::decode_kernels
#endif  // HWY_ONCE
