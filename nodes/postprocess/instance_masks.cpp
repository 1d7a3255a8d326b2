#include "nodes/postprocess/instance_masks.hpp"

#include <algorithm>
#include <cmath>

namespace fovea {

namespace {

// Pixels of the source along one axis, and where their centres lie among the prototypes' cells.
class Axis {
 public:
  Axis(std::uint32_t source, std::uint32_t scaled, std::uint32_t pad, std::uint32_t crop,
       std::uint32_t stride, std::uint32_t cells)
      : scale_(static_cast<float>(scaled) / static_cast<float>(source) /
               static_cast<float>(stride)),
        offset_((static_cast<float>(pad) - static_cast<float>(crop)) / static_cast<float>(stride) -
                0.5f) {
    // Cells of the border around the picture say nothing of it.
    const auto last = static_cast<float>(cells - 1);
    const float begin = static_cast<float>(pad) / static_cast<float>(stride);
    const float end = static_cast<float>(pad + scaled - crop) / static_cast<float>(stride);
    low_ = std::clamp(std::ceil(begin), 0.0f, last);
    high_ = std::clamp(std::floor(end) - 1, low_, last);
  }

  float low() const { return low_; }
  float high() const { return high_; }
  float place_of(std::uint32_t pixel) const {
    return std::clamp((static_cast<float>(pixel) + 0.5f) * scale_ + offset_, low_, high_);
  }
  // The pixel, as a fraction, whose centre lies at a place.
  float pixel_at(float place) const { return (place - offset_) / scale_ - 0.5f; }

 private:
  float scale_;
  float offset_;
  float low_;
  float high_;
};

// So many times finer cells, 1, 2 or 4, that the picture's border in the network's input lies between
// two of them (if any can); else what lies across it would say half of the border.
std::uint32_t refinement(const msgs::LetterboxTransform& t, std::uint32_t stride) {
  const auto between_cells = [&](std::uint32_t cell) {
    return (t.pad_left | t.pad_top | t.new_width | t.new_height) % cell == 0;
  };
  for (const std::uint32_t times : {1u, 2u, 4u}) {
    if (stride % times == 0 && between_cells(stride / times)) return times;
  }
  return 1;
}

// Where the centre of a finer cell lies between two cells.
struct Between {
  std::size_t first;
  std::size_t second;
  float share;  // of the second
};
Between between(std::uint32_t finer, std::uint32_t times, std::uint32_t cells) {
  const float place =
      std::clamp((static_cast<float>(finer) + 0.5f) / static_cast<float>(times) - 0.5f, 0.0f,
                 static_cast<float>(cells - 1));
  const auto first = static_cast<std::size_t>(place);
  const float share = place - static_cast<float>(first);
  return {first, share > 0 ? first + 1 : first, share};
}

float mix(float first, float second, float share) { return first + share * (second - first); }

// Pixels [first, last) whose left or upper edges lie in [low, high).
struct Pixels {
  std::uint32_t first;
  std::uint32_t last;
};
Pixels pixels_between(float low, float high, std::uint32_t side) {
  const auto most = static_cast<float>(side);
  return {static_cast<std::uint32_t>(std::ceil(std::clamp(low, 0.0f, most))),
          static_cast<std::uint32_t>(std::ceil(std::clamp(high, 0.0f, most)))};
}

// Run lengths as they grow: even ones are out of the mask.
class Runs {
 public:
  explicit Runs(std::span<std::uint32_t> room) : room_(room) { push(); }

  void add(bool inside, std::uint32_t pixels) {
    if (pixels == 0) return;
    if (inside != (count_ % 2 == 0)) push();
    if (fits()) room_[count_ - 1] += pixels;
    any_ = any_ || inside;
  }

  bool fits() const { return count_ <= room_.size(); }
  bool any() const { return any_; }
  std::size_t count() const { return count_; }

 private:
  void push() {
    if (count_ < room_.size()) room_[count_] = 0;
    ++count_;
  }

  std::span<std::uint32_t> room_;
  std::size_t count_ = 0;
  bool any_ = false;
};

}  // namespace

InstanceMasks::InstanceMasks(bool force_scalar)
    : kernels_(force_scalar ? decode_kernels::scalar_kernels() : decode_kernels::best_kernels()) {}

bool InstanceMasks::sum_up(const Prototypes& prototypes, std::span<const float> coefficients,
                           std::uint32_t times, const Window& window) {
  const std::size_t left = between(window.left, times, prototypes.width).first;
  const std::size_t right = between(window.right, times, prototypes.width).second;
  const std::size_t top = between(window.top, times, prototypes.height).first;
  const std::size_t bottom = between(window.bottom, times, prototypes.height).second;
  const std::size_t width = right - left + 1;
  const std::size_t height = bottom - top + 1;
  // Room for the largest box at once, so that later frames allocate nothing.
  const std::size_t cells = std::size_t{prototypes.width} * prototypes.height;
  cells_.reserve(cells);
  sums_.reserve(cells * times * times);
  column_.reserve(std::size_t{prototypes.height} * times);
  first_rows_.reserve(std::size_t{prototypes.height} * times);
  cells_.resize(width * height);
  sums_.resize(std::size_t{window.right - window.left + 1} * (window.bottom - window.top + 1));
  column_.resize(std::max<std::size_t>(height, window.bottom - window.top + 1));

  float checksum = 0;
  for (std::size_t y = 0; y < height; ++y) {
    const std::size_t cell = (top + y) * prototypes.width + left;
    float* row = cells_.data() + y * width;
    kernels_.weighted_sums(prototypes.values + cell * prototypes.channels, width,
                           prototypes.channels, coefficients.data(), row);
    for (std::size_t x = 0; x < width; ++x) checksum += row[x] * 0;  // NaN stays
  }
  if (!(checksum == 0)) return false;
  float* sum = sums_.data();
  for (std::uint32_t x = window.left; x <= window.right; ++x) {
    const Between column = between(x, times, prototypes.width);
    for (std::size_t y = 0; y < height; ++y) {
      const float* row = cells_.data() + y * width;
      column_[y] = mix(row[column.first - left], row[column.second - left], column.share);
    }
    if (times == 1) {
      sum = std::copy_n(column_.begin(), height, sum);
      continue;
    }
    for (std::uint32_t y = window.top; y <= window.bottom; ++y) {
      const Between row = between(y, times, prototypes.height);
      *sum++ = mix(column_[row.first - top], column_[row.second - top], row.share);
    }
  }
  return true;
}

InstanceMasks::Outcome InstanceMasks::write(const Prototypes& prototypes,
                                            std::span<const float> coefficients, const MaskBox& box,
                                            const msgs::LetterboxTransform& transform,
                                            std::span<std::uint32_t> runs, std::size_t& count) {
  count = 0;
  const std::uint32_t times = refinement(transform, prototypes.stride);
  const std::uint32_t stride = prototypes.stride / times;
  const Axis across(transform.source_width, transform.new_width, transform.pad_left,
                    transform.crop_left, stride, prototypes.width * times);
  const Axis down(transform.source_height, transform.new_height, transform.pad_top,
                  transform.crop_top, stride, prototypes.height * times);
  const Pixels columns = pixels_between(box.x1, box.x2, transform.source_width);
  const Pixels rows = pixels_between(box.y1, box.y2, transform.source_height);
  if (columns.first >= columns.last || rows.first >= rows.last) return Outcome::kEmpty;

  // The finer cells around these pixels.
  const auto first_cell = [](float place) { return static_cast<std::uint32_t>(place); };
  const std::uint32_t left = first_cell(across.place_of(columns.first));
  const std::uint32_t right = std::min(first_cell(across.place_of(columns.last - 1)) + 1,
                                       static_cast<std::uint32_t>(across.high()));
  const std::uint32_t top = first_cell(down.place_of(rows.first));
  const std::uint32_t bottom = std::min(first_cell(down.place_of(rows.last - 1)) + 1,
                                        static_cast<std::uint32_t>(down.high()));
  const std::size_t height = bottom - top + 1;

  const Window window{left, right, top, bottom};
  if (!sum_up(prototypes, coefficients, times, window)) return Outcome::kNotFinite;
  first_rows_.resize(height);
  for (std::size_t y = 0; y < height; ++y) {
    const float pixel = std::ceil(down.pixel_at(static_cast<float>(top + y)));
    first_rows_[y] = static_cast<std::uint32_t>(
        std::clamp(pixel, static_cast<float>(rows.first), static_cast<float>(rows.last)));
  }

  Runs written(runs);
  written.add(false, columns.first * transform.source_height);
  for (std::uint32_t x = columns.first; x < columns.last && written.fits(); ++x) {
    const float place = across.place_of(x);
    const std::uint32_t cell = std::min(first_cell(place), right);
    const float share = place - static_cast<float>(cell);
    const float* here = sums_.data() + (cell - left) * height;
    const float* next = cell < right ? here + height : here;
    for (std::size_t y = 0; y < height; ++y) column_[y] = mix(here[y], next[y], share);

    written.add(false, rows.first);
    std::uint32_t row = rows.first;
    const auto add_until = [&](bool inside, std::uint32_t end) {
      if (end <= row) return;
      written.add(inside, end - row);
      row = end;
    };
    add_until(column_[0] > 0, first_rows_[0]);
    for (std::size_t y = 0; y + 1 < height; ++y) {
      const std::uint32_t end = first_rows_[y + 1];
      if (end <= row) continue;
      const float above = column_[y];
      const float below = column_[y + 1];
      if ((above > 0) != (below > 0)) {
        const float change = down.pixel_at(static_cast<float>(top + y) + above / (above - below));
        // Only what is above 0 is inside: a pixel right at the change is not.
        const float first = above > 0 ? std::ceil(change) : std::floor(change) + 1;
        add_until(above > 0, static_cast<std::uint32_t>(std::clamp(first, static_cast<float>(row),
                                                                   static_cast<float>(end))));
      }
      add_until(below > 0, end);
    }
    add_until(column_[height - 1] > 0, rows.last);
    written.add(false, transform.source_height - rows.last);
  }
  if (!written.fits()) return Outcome::kNoRoom;
  if (!written.any()) return Outcome::kEmpty;
  written.add(false, (transform.source_width - columns.last) * transform.source_height);
  if (!written.fits()) return Outcome::kNoRoom;
  count = written.count();
  return Outcome::kWritten;
}

}  // namespace fovea
