#include "nodes/imaging/video_scaler.hpp"

#include <array>

#include <fmt/core.h>

extern "C" {
#include <libavutil/frame.h>
#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

namespace fovea::imaging {
namespace {

// Whether libswscale may write rows of this memory directly. Its vector code works on blocks of 16
// pixels: at other widths it leaves the last columns unwritten or writes past the row.
bool fits_swscale(const ImageTarget& target) {
  return target.width % 16 == 0 && target.height % 2 == 0 && target.step % 16 == 0 &&
         reinterpret_cast<std::uintptr_t>(target.data) % 16 == 0;
}

// libswscale takes every matrix that it does not know for BT.601.
bool is_known_matrix(AVColorSpace matrix) {
  switch (matrix) {
    case AVCOL_SPC_YCGCO:
    case AVCOL_SPC_BT2020_CL:
    case AVCOL_SPC_SMPTE2085:
    case AVCOL_SPC_CHROMA_DERIVED_NCL:
    case AVCOL_SPC_CHROMA_DERIVED_CL:
    case AVCOL_SPC_ICTCP:
      return false;
    default:
      return true;
  }
}

}  // namespace

void VideoScaler::Free::operator()(std::uint8_t* memory) const { av_free(memory); }

VideoScaler::~VideoScaler() { sws_freeContext(context_); }

Result<> VideoScaler::prepare(const AVFrame& frame) {
  if (context_ != nullptr && width_ == frame.width && height_ == frame.height &&
      format_ == frame.format && colorspace_ == frame.colorspace && range_ == frame.color_range) {
    return {};
  }
  sws_freeContext(context_);
  context_ = nullptr;
  const auto pixel_format = static_cast<AVPixelFormat>(frame.format);
  const AVPixFmtDescriptor* layout = av_pix_fmt_desc_get(pixel_format);
  const bool is_rgb = layout != nullptr && (layout->flags & AV_PIX_FMT_FLAG_RGB) != 0;
  if (!is_rgb && !is_known_matrix(frame.colorspace)) {
    const char* name = av_color_space_name(frame.colorspace);
    return fail(ErrorCode::kUnsupported, fmt::format("colour matrix {} cannot be converted to bgr8",
                                                     name != nullptr ? name : "?"));
  }
  context_ = sws_getContext(frame.width, frame.height, pixel_format, frame.width, frame.height,
                            AV_PIX_FMT_BGR24, SWS_BILINEAR, nullptr, nullptr, nullptr);
  if (context_ == nullptr) {
    const char* name = av_get_pix_fmt_name(pixel_format);
    return fail(ErrorCode::kUnsupported, fmt::format("cannot convert pixel format {} to bgr8",
                                                     name != nullptr ? name : "?"));
  }
  width_ = frame.width;
  height_ = frame.height;
  format_ = frame.format;
  colorspace_ = frame.colorspace;
  range_ = frame.color_range;
  int* inverse = nullptr;
  int* table = nullptr;
  int source_range = 0, range = 0, brightness = 0, contrast = 0, saturation = 0;
  if (sws_getColorspaceDetails(context_, &inverse, &source_range, &table, &range, &brightness,
                               &contrast, &saturation) >= 0) {
    if (frame.color_range == AVCOL_RANGE_JPEG) source_range = 1;
    const int* coefficients =
        frame.colorspace == AVCOL_SPC_UNSPECIFIED ? inverse : sws_getCoefficients(frame.colorspace);
    sws_setColorspaceDetails(context_, coefficients, source_range, table, range, brightness,
                             contrast, saturation);
  }
  return {};
}

bool VideoScaler::scale(const AVFrame& frame, std::uint8_t* data, std::size_t step) {
  const std::array<std::uint8_t*, 4> planes{data, nullptr, nullptr, nullptr};
  const std::array<int, 4> steps{static_cast<int>(step), 0, 0, 0};
  return sws_scale(context_, frame.data, frame.linesize, 0, frame.height, planes.data(),
                   steps.data()) == frame.height;
}

Result<std::size_t> VideoScaler::convert(const AVFrame& frame, Orientation orientation,
                                         const ImageTarget& target) {
  FOVEA_TRY(prepare(frame));
  if (orientation == Orientation::kUpright && fits_swscale(target)) {
    auto* data = reinterpret_cast<std::uint8_t*>(target.data);
    if (scale(frame, data, target.step)) return std::size_t{0};
    return fail(ErrorCode::kInternal, "colour conversion failed");
  }
  const auto width = static_cast<std::size_t>(frame.width);
  const std::size_t step = (width + 31) / 16 * 16 * 3;
  const std::size_t bytes = step * (static_cast<std::size_t>(frame.height) + 1);
  if (scratch_bytes_ < bytes) {
    scratch_.reset(static_cast<std::uint8_t*>(av_malloc(bytes)));
    scratch_bytes_ = scratch_ ? bytes : 0;
    if (!scratch_) return fail(ErrorCode::kExhausted, "out of memory");
  }
  if (!scale(frame, scratch_.get(), step)) {
    return fail(ErrorCode::kInternal, "colour conversion failed");
  }
  place_upright(reinterpret_cast<const std::byte*>(scratch_.get()), step, orientation, target);
  return std::size_t{3} * target.width * target.height;
}

}  // namespace fovea::imaging
