// YUV rows with Highway, compiled once per instruction set and chosen at run time: 16 pixels at a time.
#include "nodes/base/simd_target.hpp"
#include "nodes/preprocess/colour_rows.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nodes/preprocess/colour_simd.cpp"
// Highway needs this order.
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace fovea::colour_kernels {
namespace HWY_NAMESPACE {

namespace {

#if HWY_TARGET != HWY_SCALAR

namespace hn = hwy::HWY_NAMESPACE;

constexpr std::size_t kPairs = 8;

// As rgb_of_yuv(), of the pairs' first or second pixels.
template <class V8>
void pixels_of(V8 luma, V8 u, V8 v, std::uint8_t* red, std::uint8_t* green, std::uint8_t* blue) {
  const hn::FixedTag<std::int16_t, kPairs> d16;
  const hn::FixedTag<std::uint8_t, kPairs> d8;
  const auto wide = [&](V8 bytes, std::int16_t zero)
                        HWY_ATTR { return hn::Sub(hn::PromoteTo(d16, bytes), hn::Set(d16, zero)); };
  const auto times = [&](auto value, int factor) HWY_ATTR {
    return hn::MulFixedPoint15(hn::ShiftLeft<6>(value),
                               hn::Set(d16, static_cast<std::int16_t>(factor)));
  };
  const auto store = [&](auto sum, std::uint8_t* to) HWY_ATTR {
    const auto rounded = hn::ShiftRight<4>(hn::Add(sum, hn::Set(d16, std::int16_t{8})));
    hn::StoreU(hn::DemoteTo(d8, rounded), d8, to);
  };
  const auto y = times(hn::Max(wide(luma, 16), hn::Zero(d16)), yuv::kLuma);
  const auto cu = wide(u, 128);
  const auto cv = wide(v, 128);
  store(hn::Add(y, times(cv, yuv::kRedOfV)), red);
  store(hn::Add(hn::Add(y, times(cv, yuv::kGreenOfV)), times(cu, yuv::kGreenOfU)), green);
  store(hn::Add(y, times(cu, yuv::kBlueOfU)), blue);
}

template <class V8>
void store_pairs(V8 first, V8 second, V8 u, V8 v, std::uint8_t* rgb) {
  const hn::FixedTag<std::uint8_t, kPairs> d8;
  const hn::FixedTag<std::uint8_t, 2 * kPairs> d16;
  std::uint8_t planes[3][2][kPairs];
  pixels_of(first, u, v, planes[0][0], planes[1][0], planes[2][0]);
  pixels_of(second, u, v, planes[0][1], planes[1][1], planes[2][1]);
  std::uint8_t turned[3][2 * kPairs];
  for (std::size_t c = 0; c < 3; ++c) {
    hn::StoreInterleaved2(hn::LoadU(d8, planes[c][0]), hn::LoadU(d8, planes[c][1]), d8, turned[c]);
  }
  hn::StoreInterleaved3(hn::LoadU(d16, turned[0]), hn::LoadU(d16, turned[1]),
                        hn::LoadU(d16, turned[2]), d16, rgb);
}

#endif

void convert_yuv(msgs::Encoding encoding, const std::uint8_t* row, const std::uint8_t* chroma,
                 std::size_t width, std::uint8_t* rgb) {
  std::size_t x = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<std::uint8_t, kPairs> d8;
  for (; x + 2 * kPairs <= width; x += 2 * kPairs) {
    auto first = hn::Zero(d8), second = hn::Zero(d8), u = hn::Zero(d8), v = hn::Zero(d8);
    if (encoding == msgs::Encoding::kNv12) {
      hn::LoadInterleaved2(d8, row + x, first, second);
      hn::LoadInterleaved2(d8, chroma + x, u, v);
    } else if (encoding == msgs::Encoding::kYuyv) {
      hn::LoadInterleaved4(d8, row + 2 * x, first, u, second, v);
    } else {
      hn::LoadInterleaved4(d8, row + 2 * x, u, first, v, second);
    }
    store_pairs(first, second, u, v, rgb + 3 * x);
  }
#endif
  const std::size_t bytes = encoding == msgs::Encoding::kNv12 ? 1 : 2;
  convert_pixels(encoding, row + bytes * x, chroma == nullptr ? nullptr : chroma + x, width - x,
                 ChannelOrder::kRgb, rgb + 3 * x);
}

}  // namespace

ConvertYuv target_convert_yuv() { return convert_yuv; }

}  // namespace HWY_NAMESPACE
}  // namespace fovea::colour_kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::colour_kernels {

HWY_EXPORT(target_convert_yuv);

namespace {

void convert_readably(msgs::Encoding encoding, const std::uint8_t* row, const std::uint8_t* chroma,
                      std::size_t width, std::uint8_t* rgb) {
  convert_pixels(encoding, row, chroma, width, ChannelOrder::kRgb, rgb);
}

ConvertYuv convert_for(std::int64_t targets) {
#if (HWY_TARGETS & (HWY_TARGETS - 1)) == 0
  static_cast<void>(targets);  // built for one instruction set only
  return HWY_STATIC_DISPATCH(target_convert_yuv)();
#else
  return HWY_DISPATCH_TABLE(target_convert_yuv)[simd::table_index(targets)]();
#endif
}

}  // namespace

ConvertYuv best_convert_yuv() {
  static const ConvertYuv convert =
      simd::scalar_requested() ? convert_readably : convert_for(simd::allowed_targets());
  return convert;
}

std::vector<Named> all_convert_yuv() {
  std::vector<Named> all{{"scalar", convert_readably}};
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    all.push_back({hwy::TargetName(target), convert_for(target)});
  }
  return all;
}

}  // namespace fovea::colour_kernels
#endif  // HWY_ONCE
