#include "nodes/detector/engine/cpu/kernels/source_rows.hpp"

#include <algorithm>
#include <cstring>

#include "nodes/detector/engine/cpu/kernels/convolution_parts.hpp"

namespace fovea::engine::kernels {

SourceRows::SourceRows(const ConvolutionSpec& spec, std::int64_t channels, const Grid& grid,
                       const RowFunctions& rows)
    : source_(spec.source),
      grid_(grid),
      type_(spec.compute),
      physically_padded_(spec.physically_padded),
      height_(spec.in_height),
      width_(spec.in_width),
      source_channels_(spec.in_channels),
      channels_(channels),
      stride_(spec.stride_width),
      reach_((spec.kernel_width - 1) * spec.dilation_width + 1),
      rows_(rows) {}

bool SourceRows::needed(const ConvolutionSpec& spec) {
  return spec.source.type != spec.compute ||
         (!spec.physically_padded && windows_leave_picture(spec));
}

std::int64_t SourceRows::columns(std::int64_t pixels) const {
  return (pixels - 1) * stride_ + reach_;
}

void SourceRows::copy(const void* source, std::int64_t row, std::int64_t column, std::int64_t count,
                      std::byte* to) const {
  const std::int64_t pixel = channels_ * element_bytes(type_);
  std::int64_t first = column;
  std::int64_t end = column + count;
  if (!physically_padded_) {
    first = std::clamp(first, std::int64_t{0}, width_);
    end = std::clamp(end, first, width_);
    if (row < 0 || row >= height_) end = first;
  }
  const bool whole = first == column && end == column + count && channels_ == source_channels_;
  if (!whole) {
    const int zero = type_ == DataType::kUint8 ? source_.grid.zero_point : 0;
    std::memset(to, zero, static_cast<std::size_t>(count * pixel));
  }
  if (first == end) return;
  const std::int64_t element = row * source_.row_stride + first * source_.pixel_stride;
  const std::byte* from =
      static_cast<const std::byte*>(source) + element * element_bytes(source_.type);
  to += (first - column) * pixel;
  if (source_.type == type_ && source_.pixel_stride == channels_) {
    std::memcpy(to, from, static_cast<std::size_t>((end - first) * pixel));
    return;
  }
  PointwiseJob job;
  job.from = {from, source_.pixel_stride, source_.type, grid_};
  job.to = to;
  job.to_stride = channels_;
  job.to_type = type_;
  job.to_grid = grid_;
  job.pixels = end - first;
  job.channels = source_channels_;
  rows_.pointwise(job);
}

}  // namespace fovea::engine::kernels
