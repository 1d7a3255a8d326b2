#include "nodes/postprocess/semantic_labels.hpp"

#include <algorithm>
#include <cmath>

namespace fovea {

using label_kernels::Line;

namespace {

// Adds a run to a row, whose runs begin at `row`.
void add_run(std::vector<msgs::LabelRun>& runs, std::size_t row, std::uint16_t label,
             std::uint32_t length) {
  if (length == 0) return;
  if (runs.size() > row && runs.back().label == label) {
    runs.back().length = static_cast<std::uint16_t>(runs.back().length + length);
  } else {
    runs.push_back({label, static_cast<std::uint16_t>(length)});
  }
}

}  // namespace

SemanticLabels::SemanticLabels(bool force_scalar)
    : kernels_(force_scalar ? label_kernels::scalar_kernels() : label_kernels::best_kernels()) {}

SemanticLabels::Axis SemanticLabels::axis_of(std::uint32_t cells, std::uint32_t stride) {
  Axis axis;
  const std::uint32_t pixels = cells * stride;
  // The centre of cell i lies at (i + 1/2) * stride: before that of the first and behind that of the
  // last one, their own numbers hold.
  for (std::uint32_t i = 0; i <= cells; ++i) {
    axis.blocks.push_back({i == 0 ? 0 : (2 * i - 1) * stride / 2,
                           i == cells ? pixels : (2 * i + 1) * stride / 2, i == 0 ? 0 : i - 1,
                           std::min(i, cells - 1)});
  }
  for (std::uint32_t p = 0; p < pixels; ++p) {
    const float at = (static_cast<float>(p) + 0.5f) / static_cast<float>(stride) - 0.5f;
    axis.shares.push_back(at - std::floor(at));
  }
  axis.shares.resize(pixels + label_kernels::kPad);
  return axis;
}

SemanticLabels::Window SemanticLabels::window_of(std::uint32_t pad, std::uint32_t scaled,
                                                 std::uint32_t network) {
  return {pad, std::min(network, pad + scaled)};
}

void SemanticLabels::prepare(const DenseMap& map) {
  if (map.height == prepared_.height && map.width == prepared_.width &&
      map.channels == prepared_.channels && map.stride == prepared_.stride) {
    return;
  }
  prepared_ = map;
  rows_ = axis_of(map.height, map.stride);
  columns_ = axis_of(map.width, map.stride);
  row_bytes_ = std::size_t{map.width} * map.stride + label_kernels::kPad;
  labels_.assign(row_bytes_ * map.height * map.stride, kNoLabel);
  candidates_.resize(map.channels + label_kernels::kPad);
  lines_.resize(map.channels + 1);
  runs_.reserve(msgs::SemanticMap::kMaxRuns + kMaxSide);
}

void SemanticLabels::draw(const DenseMap& map, const msgs::LetterboxTransform& transform) {
  prepare(map);
  transform_ = transform;
  visible_rows_ = window_of(transform.pad_top, transform.new_height, transform.network_height);
  visible_columns_ = window_of(transform.pad_left, transform.new_width, transform.network_width);
  for (const Block& rows : rows_.blocks) {
    if (rows.end <= visible_rows_.first || rows.first >= visible_rows_.end) continue;
    for (const Block& columns : columns_.blocks) {
      if (columns.end <= visible_columns_.first || columns.first >= visible_columns_.end) continue;
      draw_block(map, rows, columns);
    }
  }
  encode();
}

void SemanticLabels::draw_block(const DenseMap& map, const Block& rows, const Block& columns) {
  const auto cell = [&](std::uint32_t row, std::uint32_t column) {
    return map.values + (std::size_t{row} * map.width + column) * map.channels;
  };
  const float* const corners[4] = {cell(rows.cell, columns.cell), cell(rows.cell, columns.next),
                                   cell(rows.next, columns.cell), cell(rows.next, columns.next)};
  bool finite = true;
  std::size_t count = kernels_.find_candidates(corners, map.channels, candidates_.data(), finite);
  if (!finite) return fill(rows, columns, kNoLabel);
  if (map.channels > 1 && count == 1) {
    return fill(rows, columns, static_cast<std::uint8_t>(candidates_[0]));
  }
  for (std::uint32_t y = rows.first; y < rows.end; ++y) {
    const float share = rows_.shares[y];
    const auto between = [&](std::size_t upper, std::size_t c) {
      return corners[upper][c] + share * (corners[upper + 2][c] - corners[upper][c]);
    };
    std::size_t lines = 0;
    // The other side of a single class: it is none where its number is not above 0.
    if (map.channels == 1) lines_[lines++] = {0, 0, kNoLabel};
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint16_t c = candidates_[i];
      const float left = between(0, c);
      lines_[lines++] = {left, between(1, c) - left, static_cast<float>(c)};
    }
    kernels_.choose(lines_.data(), lines, columns_.shares.data() + columns.first,
                    columns.end - columns.first, labels_at(y, columns.first));
  }
}

void SemanticLabels::fill(const Block& rows, const Block& columns, std::uint8_t label) {
  for (std::uint32_t y = rows.first; y < rows.end; ++y) {
    std::fill_n(labels_at(y, columns.first), columns.end - columns.first, label);
  }
}

void SemanticLabels::row(std::uint32_t y, std::span<std::uint8_t> labels) const {
  std::fill(labels.begin(), labels.end(), kNoLabel);
  if (y < transform_.crop_top) return;
  const std::uint32_t network_row = y - transform_.crop_top + visible_rows_.first;
  if (network_row >= visible_rows_.end) return;
  const std::uint8_t* from = labels_.data() + network_row * row_bytes_;
  std::copy(from + visible_columns_.first, from + visible_columns_.end,
            labels.begin() + transform_.crop_left);
}

void SemanticLabels::encode() {
  runs_.clear();
  pixels_.fill(0);
  rows_without_room_ = 0;
  const std::uint32_t visible = visible_columns_.end - visible_columns_.first;
  for (std::uint32_t y = 0; y < height(); ++y) {
    const std::size_t begin = runs_.size();
    const std::uint32_t network_row = y - transform_.crop_top + visible_rows_.first;
    if (y < transform_.crop_top || network_row >= visible_rows_.end) {
      add_run(runs_, begin, kNoLabel, width());
    } else {
      add_run(runs_, begin, kNoLabel, transform_.crop_left);
      const std::uint8_t* labels =
          labels_.data() + network_row * row_bytes_ + visible_columns_.first;
      for (std::uint32_t x = 0; x < visible;) {
        const auto length =
            static_cast<std::uint32_t>(kernels_.run_length(labels + x, visible - x));
        add_run(runs_, begin, labels[x], length);
        pixels_[labels[x]] += length;
        x += length;
      }
      add_run(runs_, begin, kNoLabel, width() - transform_.crop_left - visible);
    }
    if (rows_without_room_ == 0 && runs_.size() <= msgs::SemanticMap::kMaxRuns) continue;
    runs_.resize(begin);  // neither this row nor the next ones
    ++rows_without_room_;
  }
}

std::optional<std::uint32_t> SemanticLabels::greatest() const {
  const auto end = pixels_.begin() + kNoLabel;
  const auto most = std::max_element(pixels_.begin(), end);
  if (*most == 0) return std::nullopt;
  return static_cast<std::uint32_t>(most - pixels_.begin());
}

void SemanticLabels::write(msgs::SemanticMap& out) const {
  out.source_width = transform_.source_width;
  out.source_height = transform_.source_height;
  out.width = width();
  out.height = height();
  out.truncated = rows_without_room_;
  out.runs.count = static_cast<std::uint32_t>(runs_.size());
  std::copy(runs_.begin(), runs_.end(), out.runs.begin());
  out.classes.clear();
  for (std::uint32_t c = 0; c < kNoLabel; ++c) {
    if (pixels_[c] > 0) {
      out.classes.push_back({.class_id = c, .pixels = pixels_[c], .class_name = {}});
    }
  }
  std::sort(out.classes.begin(), out.classes.end(), [](const auto& a, const auto& b) {
    return a.pixels != b.pixels ? a.pixels > b.pixels : a.class_id < b.class_id;
  });
}

}  // namespace fovea
