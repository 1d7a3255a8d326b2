#include "nodes/preprocess/antialias.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace fovea {
namespace {

using antialias_kernels::kSlack;
using antialias_kernels::kWeightBits;
using antialias_kernels::kWeightStep;
using antialias_kernels::Window;

// Grows only.
template <class T>
void make_room(std::vector<T>& memory, std::size_t size) {
  if (memory.size() < size) memory.resize(size);
}

std::size_t row_bytes(const AntialiasPlan& plan, std::uint32_t channels) {
  return plan.columns.windows.size() * channels + kSlack;
}

// Source samples of a row that are read, from the first on.
std::size_t samples_read(const AntialiasPlan& plan, std::uint32_t channels) {
  const Window& last = plan.columns.windows.back();
  return (std::size_t{last.first} + last.count) * channels;
}

}  // namespace

// Double precision in PIL's order of operations, so that weights agree to the last bit.
AntialiasAxis make_antialias_axis(std::uint32_t source_size, std::uint32_t new_size,
                                  std::uint32_t crop, std::uint32_t size) {
  const double scale = static_cast<double>(source_size) / new_size;
  const double support = std::max(scale, 1.0);  // half the triangle's base
  const double inverse = 1.0 / support;
  AntialiasAxis axis;
  const std::size_t most = static_cast<std::size_t>(std::ceil(support)) * 2 + 1;
  axis.stride = (most + kWeightStep - 1) / kWeightStep * kWeightStep;
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
      const auto weight = static_cast<std::int32_t>(share / sum * (1 << kWeightBits) + 0.5);
      if (weight == 0 && window.count == 0)
        ++window.first;  // need not be read
      else
        weights[window.count++] = weight;
    }
    while (window.count > 0 && weights[window.count - 1] == 0) --window.count;
    axis.windows.push_back(window);
    axis.longest = std::max(axis.longest, window.count);
  }
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
                            : &letterbox_kernels::best_kernels()) {}

void AntialiasedResize::reserve(const AntialiasPlan& plan, std::uint32_t channels) {
  make_room(ring_, plan.rows.longest * row_bytes(plan, channels));
  make_room(window_, plan.rows.longest);
  make_room(output_, row_bytes(plan, channels));
  make_room(last_row_, samples_read(plan, channels) + kSlack);
}

std::uint8_t* AntialiasedResize::slot(const AntialiasPlan& plan, std::uint32_t channels,
                                      std::uint32_t source_row) {
  return ring_.data() + source_row % plan.rows.longest * row_bytes(plan, channels);
}

void AntialiasedResize::filter_row(const AntialiasPlan& plan, const ImageView& source,
                                   std::uint32_t source_row) {
  const std::uint32_t channels = msgs::channels(source.encoding);
  const auto rest = source.pixels.subspan(std::size_t{source_row} * source.step);
  const auto* row = reinterpret_cast<const std::uint8_t*>(rest.data());
  // Kernels read a little more than they use; behind the last pixel there may be no memory.
  const std::size_t samples = samples_read(plan, channels);
  if (rest.size() < samples + kSlack) {
    std::memcpy(last_row_.data(), row, samples);
    row = last_row_.data();
  }
  const AntialiasAxis& columns = plan.columns;
  const auto filter = channels == 1 ? kernels_->filter_mono : kernels_->filter_colour;
  filter(row, columns.windows.data(), columns.weights.data(), columns.stride,
         columns.windows.size(), slot(plan, channels, source_row));
}

void AntialiasedResize::run(const AntialiasPlan& plan, const ImageView& source,
                            letterbox_kernels::Order order, std::uint8_t* rgb) {
  const std::uint32_t channels = msgs::channels(source.encoding);
  reserve(plan, channels);
  const std::size_t width = plan.columns.windows.size();
  std::uint32_t filtered = 0;  // source rows before this one are in the ring or no longer needed
  for (std::size_t y = 0; y < plan.rows.windows.size(); ++y) {
    const Window& window = plan.rows.windows[y];
    for (filtered = std::max(filtered, window.first); filtered < window.first + window.count;
         ++filtered) {
      filter_row(plan, source, filtered);
    }
    for (std::uint32_t k = 0; k < window.count; ++k) {
      window_[k] = slot(plan, channels, window.first + k);
    }
    kernels_->add_rows(window_.data(), plan.rows.weights.data() + y * plan.rows.stride,
                       window.count, width * channels, output_.data());
    convert_->convert_row(output_.data(), width, order, rgb + y * width * 3);
  }
}

}  // namespace fovea
