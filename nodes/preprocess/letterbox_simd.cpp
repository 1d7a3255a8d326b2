// The kernels with Highway, compiled once per instruction set and chosen at run time.
//
// The vertical pass is first because it is contiguous; the horizontal pass then fetches each
// pixel's two neighbours with one load, where the other order would do so for both rows.
#include <algorithm>
#include <cstring>

#include "nodes/base/simd_target.hpp"
#include "nodes/preprocess/letterbox_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nodes/preprocess/letterbox_simd.cpp"
// Highway needs this order.
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace fovea::letterbox_kernels {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR  // a CPU without vectors
const Kernels* target_kernels() { return &scalar_kernels(); }
#else

namespace {

namespace hn = hwy::HWY_NAMESPACE;

void blend_rows(const std::uint8_t* upper, const std::uint8_t* lower, int weight_upper,
                int weight_lower, std::size_t count, std::int16_t* blended) {
  const hn::ScalableTag<std::uint16_t> d16;
  const hn::Rebind<std::int16_t, decltype(d16)> di16;
  const hn::Rebind<std::uint8_t, decltype(d16)> d8;
  const std::size_t lanes = hn::Lanes(d16);
  // (sample << 8) * (weight << 4) >> 16 = sample * weight >> 4, without leaving 16 bits.
  static_assert(kBlendShift == 4);
  const auto weight_u = hn::Set(d16, static_cast<std::uint16_t>(weight_upper << kBlendShift));
  const auto weight_l = hn::Set(d16, static_cast<std::uint16_t>(weight_lower << kBlendShift));
  const auto term = [&](const std::uint8_t* samples, auto weight) HWY_ATTR {
    const auto sample = hn::PromoteTo(d16, hn::LoadU(d8, samples));
    return hn::MulHigh(hn::ShiftLeft<8>(sample), weight);
  };
  std::size_t i = 0;
  if (weight_lower == 0) {
    for (; i + lanes <= count; i += lanes) {
      hn::StoreU(hn::BitCast(di16, term(upper + i, weight_u)), di16, blended + i);
    }
  } else {
    for (; i + lanes <= count; i += lanes) {
      const auto sum = hn::Add(term(upper + i, weight_u), term(lower + i, weight_l));
      hn::StoreU(hn::BitCast(di16, sum), di16, blended + i);
    }
  }
  scalar_kernels().blend_rows(upper + i, lower + i, weight_upper, weight_lower, count - i,
                              blended + i);
}

// Bytes of a pixel's eight samples that make the pairs (left, right) of red, green, blue, unused.
alignas(16) constexpr std::uint8_t kPairs[3][16] = {
    {0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, 4, 5, 10, 11},  // kRgb
    {4, 5, 10, 11, 2, 3, 8, 9, 0, 1, 6, 7, 0, 1, 6, 7},    // kBgr
    {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3},      // kMono
};
// From the bytes r0 r1 r2 r3 g0 .. g3 b0 .. b3 to pixels.
alignas(16) constexpr std::uint8_t kInterleave[16] = {0,  4, 8, 1,  5,  9,  2,  6,
                                                      10, 3, 7, 11, 12, 13, 14, 15};

void resample_row(const std::int16_t* blended, const ColumnTap* taps, std::size_t count,
                  Order order, std::uint8_t* rgb) {
  const hn::FixedTag<std::int16_t, 8> d16;
  const hn::FixedTag<std::int32_t, 4> d32;
  const hn::FixedTag<std::uint32_t, 4> du32;
  const hn::FixedTag<std::uint8_t, 16> d8;
  const auto pairs = hn::Load(d8, kPairs[static_cast<std::size_t>(order)]);
  const auto interleave = hn::Load(d8, kInterleave);
  const auto half = hn::Set(d32, 1 << (kResampleShift - 1));
  static_assert(kResampleShift == 18);

  // Red, green, blue of one pixel, each times 2^18, rounding included.
  const auto pixel = [&](const ColumnTap& tap) HWY_ATTR {
    std::int32_t weights;
    std::memcpy(&weights, &tap.weight_left, sizeof(weights));
    const auto samples = hn::LoadU(d16, blended + tap.offset);
    const auto neighbours = hn::TableLookupBytes(samples, hn::BitCast(d16, pairs));
    auto odd = hn::Zero(d32);
    // From zero: NEON sums the lanes of a pixel up afterwards, and would count a start twice.
    const auto even = hn::ReorderWidenMulAccumulate(
        d32, neighbours, hn::BitCast(d16, hn::Set(d32, weights)), hn::Zero(d32), odd);
    return hn::BitCast(du32, hn::Add(hn::RearrangeToOddPlusEven(even, odd), half));
  };

  // Four pixels make 12 bytes but a store has 16: stop while they still lie inside this row.
  std::size_t x = 0;
  for (; 3 * x + 16 <= 3 * count; x += 4) {
    const auto p0 = hn::ShiftRight<18>(pixel(taps[x]));
    const auto p1 = hn::And(hn::ShiftRight<10>(pixel(taps[x + 1])), hn::Set(du32, 0xff00u));
    const auto p2 = hn::And(hn::ShiftRight<2>(pixel(taps[x + 2])), hn::Set(du32, 0xff0000u));
    const auto p3 = hn::And(hn::ShiftLeft<6>(pixel(taps[x + 3])), hn::Set(du32, 0xff000000u));
    const auto planar = hn::BitCast(d8, hn::Or(hn::Or(p0, p1), hn::Or(p2, p3)));
    hn::StoreU(hn::TableLookupBytes(planar, interleave), d8, rgb + 3 * x);
  }
  scalar_kernels().resample_row(blended, taps + x, count - x, order, rgb + 3 * x);
}

void convert_row(const std::uint8_t* source, std::size_t count, Order order, std::uint8_t* rgb) {
  const hn::ScalableTag<std::uint8_t> d8;
  const std::size_t lanes = hn::Lanes(d8);
  std::size_t x = 0;
  if (order == Order::kRgb) {
    std::copy_n(source, 3 * count, rgb);
    return;
  }
  for (; x + lanes <= count; x += lanes) {
    if (order == Order::kMono) {
      const auto gray = hn::LoadU(d8, source + x);
      hn::StoreInterleaved3(gray, gray, gray, d8, rgb + 3 * x);
    } else {
      auto blue = hn::Zero(d8), green = hn::Zero(d8), red = hn::Zero(d8);
      hn::LoadInterleaved3(d8, source + 3 * x, blue, green, red);
      hn::StoreInterleaved3(red, green, blue, d8, rgb + 3 * x);
    }
  }
  const std::size_t channels = order == Order::kMono ? 1 : 3;
  scalar_kernels().convert_row(source + channels * x, count - x, order, rgb + 3 * x);
}

constexpr Kernels kKernels{blend_rows, resample_row, convert_row};

}  // namespace

const Kernels* target_kernels() { return &kKernels; }

#endif  // HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace fovea::letterbox_kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::letterbox_kernels {

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

}  // namespace fovea::letterbox_kernels
#endif  // HWY_ONCE
