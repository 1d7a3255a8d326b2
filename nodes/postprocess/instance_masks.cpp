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

InstanceMasks::Outcome InstanceMasks::write(const Prototypes& prototypes,
                                            std::span<const float> coefficients, const MaskBox& box,
                                            const msgs::LetterboxTransform& transform,
                                            std::span<std::uint32_t> runs, std::size_t& count) {
  count = 0;
  const Axis across(transform.source_width, transform.new_width, transform.pad_left,
                    transform.crop_left, prototypes.stride, prototypes.width);
  const Axis down(transform.source_height, transform.new_height, transform.pad_top,
                  transform.crop_top, prototypes.stride, prototypes.height);
  const Pixels columns = pixels_between(box.x1, box.x2, transform.source_width);
  const Pixels rows = pixels_between(box.y1, box.y2, transform.source_height);
  if (columns.first >= columns.last || rows.first >= rows.last) return Outcome::kEmpty;

  // The cells around these pixels.
  const auto first_cell = [](float place) { return static_cast<std::uint32_t>(place); };
  const std::uint32_t left = first_cell(across.place_of(columns.first));
  const std::uint32_t right = std::min(first_cell(across.place_of(columns.last - 1)) + 1,
                                       static_cast<std::uint32_t>(across.high()));
  const std::uint32_t top = first_cell(down.place_of(rows.first));
  const std::uint32_t bottom = std::min(first_cell(down.place_of(rows.last - 1)) + 1,
                                        static_cast<std::uint32_t>(down.high()));
  const std::size_t width = right - left + 1;
  const std::size_t height = bottom - top + 1;

  // Room for the largest box at once, so that later frames allocate nothing.
  row_.reserve(prototypes.width);
  sums_.reserve(std::size_t{prototypes.width} * prototypes.height);
  column_.reserve(prototypes.height);
  first_rows_.reserve(prototypes.height);
  row_.resize(width);
  sums_.resize(width * height);
  column_.resize(height);
  first_rows_.resize(height);
  float checksum = 0;
  for (std::size_t y = 0; y < height; ++y) {
    const std::size_t cell = (top + y) * std::size_t{prototypes.width} + left;
    kernels_.weighted_sums(prototypes.values + cell * prototypes.channels, width,
                           prototypes.channels, coefficients.data(), row_.data());
    for (std::size_t x = 0; x < width; ++x) {
      sums_[x * height + y] = row_[x];
      checksum += row_[x] * 0;  // NaN for NaN and infinity, and stays
    }
  }
  if (!(checksum == 0)) return Outcome::kNotFinite;
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
    for (std::size_t y = 0; y < height; ++y) column_[y] = here[y] + share * (next[y] - here[y]);

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
