#include "nodes/preprocess/antialias.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace fovea {
namespace {

using antialias_kernels::kRows;
using antialias_kernels::kWeightBits;
using antialias_kernels::Window;

// Grows only.
template <class T>
void make_room(std::vector<T>& memory, std::size_t size) {
  if (memory.size() < size) memory.resize(size);
}

// Rows of the longest window, and those that were filtered ahead.
std::size_t ring_rows(const AntialiasPlan& plan) { return plan.rows.longest + kRows; }

}  // namespace

// Double precision in PIL's order of operations, so that weights agree to the last bit.
AntialiasAxis make_antialias_axis(std::uint32_t source_size, std::uint32_t new_size,
                                  std::uint32_t crop, std::uint32_t size) {
  const double scale = static_cast<double>(source_size) / new_size;
  const double support = std::max(scale, 1.0);  // half the triangle's base
  const double inverse = 1.0 / support;
  AntialiasAxis axis;
  axis.stride = static_cast<std::size_t>(std::ceil(support)) * 2 + 1;
  axis.windows.reserve(size);
  axis.weights.assign(size * axis.stride, 0);
  std::vector<double> exact;
  for (std::uint32_t i = 0; i < size; ++i) {
    const double centre = (crop + i + 0.5) * scale;
    const auto begin = static_cast<std::uint32_t>(std::max(centre - support + 0.5, 0.0));
    const auto end =
        static_cast<std::uint32_t>(std::min<double>(centre + support + 0.5, source_size));
    double sum = 0;
    exact.clear();
    for (std::uint32_t position = begin; position < end; ++position) {
      const double distance = std::abs((position - centre + 0.5) * inverse);
      exact.push_back(std::max(1.0 - distance, 0.0));
      sum += exact.back();
    }
    Window window{begin, 0};
    std::int32_t* weights = axis.weights.data() + i * axis.stride;
    for (const double share : exact) {
      const double rounded = std::floor(share / sum * (1 << kWeightBits) + 0.5);
      if (rounded == 0 && window.count == 0) {
        ++window.first;  // need not be read
      } else {
        weights[window.count++] = static_cast<std::int32_t>(rounded);
      }
    }
    while (window.count > 0 && weights[window.count - 1] == 0) --window.count;
    axis.windows.push_back(window);
    axis.longest = std::max(axis.longest, window.count);
  }
  axis.begin = axis.windows.front().first;
  for (Window& window : axis.windows) window.first -= axis.begin;
  axis.length = axis.windows.back().first + axis.windows.back().count;
  return axis;
}

AntialiasPlan make_antialias_plan(const msgs::LetterboxTransform& t) {
  return {make_antialias_axis(t.source_width, t.new_width, t.crop_left, t.network_width),
          make_antialias_axis(t.source_height, t.new_height, t.crop_top, t.network_height)};
}

AntialiasedResize::AntialiasedResize(bool force_scalar)
    : kernels_(force_scalar ? &antialias_kernels::scalar_kernels()
                            : &antialias_kernels::best_kernels()),
      convert_(force_scalar ? &letterbox_kernels::scalar_kernels()
                            : &letterbox_kernels::best_kernels()),
      colours_(force_scalar) {}

void AntialiasedResize::reserve(const AntialiasPlan& plan, std::uint32_t channels,
                                std::uint32_t source_width) {
  make_room(rgb_rows_, std::size_t{source_width} * 3 * kRows);
  const std::size_t row_bytes = plan.columns.windows.size() * channels;
  make_room(block_, std::size_t{plan.columns.length} * channels * kRows);
  make_room(filtered_, row_bytes * kRows);
  make_room(ring_, row_bytes * ring_rows(plan));
  make_room(window_, plan.rows.longest);
  make_room(output_, row_bytes);
}

// Rows are counted from plan.rows.begin on.
std::uint8_t* AntialiasedResize::filtered_row(const AntialiasPlan& plan, std::uint32_t channels,
                                              std::uint32_t row) {
  return ring_.data() + row % ring_rows(plan) * plan.columns.windows.size() * channels;
}

// The block of rows from `first` on; the last one again where there are no more.
void AntialiasedResize::filter_rows(const AntialiasPlan& plan, const ImageView& source,
                                    std::uint32_t first) {
  const AntialiasAxis& columns = plan.columns;
  const bool native = is_native(source.encoding);
  const std::uint32_t channels = native ? msgs::channels(source.encoding) : 3;
  const auto* pixels = reinterpret_cast<const std::uint8_t*>(source.pixels.data());
  std::array<const std::uint8_t*, kRows> from{};
  std::array<std::uint8_t*, kRows> to{};
  for (std::uint32_t r = 0; r < kRows; ++r) {
    const std::uint32_t row = plan.rows.begin + std::min(first + r, plan.rows.length - 1);
    from[r] = pixels + std::size_t{row} * source.step;
    if (!native) {
      std::uint8_t* rgb = rgb_rows_.data() + r * std::size_t{source.width} * 3;
      colours_.convert(row, rgb);
      from[r] = rgb;
    }
    from[r] += std::size_t{columns.begin} * channels;
    to[r] = filtered_row(plan, channels, first + r);
  }
  const std::size_t width = columns.windows.size();
  kernels_->gather_rows(from.data(), std::size_t{columns.length} * channels, block_.data());
  kernels_->filter_block(block_.data(), columns.windows.data(), columns.weights.data(),
                         columns.stride, channels, width, filtered_.data());
  kernels_->scatter_rows(filtered_.data(), width * channels, to.data());
}

void AntialiasedResize::run(const AntialiasPlan& plan, const ImageView& source,
                            letterbox_kernels::Order order, std::uint8_t* rgb) {
  const std::uint32_t channels = is_native(source.encoding) ? msgs::channels(source.encoding) : 3;
  reserve(plan, channels, source.width);
  if (!is_native(source.encoding)) colours_.begin(source);
  const std::size_t width = plan.columns.windows.size();
  std::uint32_t filtered = 0;  // rows before this one are in the ring or no longer needed
  for (std::size_t y = 0; y < plan.rows.windows.size(); ++y) {
    const Window& window = plan.rows.windows[y];
    for (; filtered < window.first + window.count; filtered += kRows) {
      filter_rows(plan, source, filtered);
    }
    for (std::uint32_t k = 0; k < window.count; ++k) {
      window_[k] = filtered_row(plan, channels, window.first + k);
    }
    kernels_->add_rows(window_.data(), plan.rows.weights.data() + y * plan.rows.stride,
                       window.count, width * channels, output_.data());
    convert_->convert_row(output_.data(), width, order, rgb + y * width * 3);
  }
}

}  // namespace fovea
