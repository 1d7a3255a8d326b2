// Rows of a convolution's source, copied as its inner loop wants them: dense pixels of the type it
// computes with, and the border that the source does not have. Internal to the kernels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nodes/detector/engine/cpu/kernels/convolution.hpp"
#include "nodes/detector/engine/cpu/kernels/rows.hpp"

namespace fovea::engine::kernels {

class SourceRows {
 public:
  // `channels` of a copied pixel, at least the source's: the rest is zero. `grid` is what the codes
  // of a u8 source mean where others are computed with.
  SourceRows(const ConvolutionSpec& spec, std::int64_t channels, const Grid& grid,
             const RowFunctions& rows);

  // The convolution cannot read its source where that lies.
  static bool needed(const ConvolutionSpec& spec);

  // Source columns that `pixels` output pixels reach.
  std::int64_t columns(std::int64_t pixels) const;
  // Copies `count` pixels from (row, column) on, which may lie beyond the picture.
  void copy(const void* source, std::int64_t row, std::int64_t column, std::int64_t count,
            std::byte* to) const;

 private:
  Surface source_;
  Grid grid_;
  DataType type_;
  bool physically_padded_;
  std::int64_t height_;
  std::int64_t width_;
  std::int64_t source_channels_;
  std::int64_t channels_;
  std::int64_t stride_;
  std::int64_t reach_;  // columns of one window
  RowFunctions rows_;
};

}  // namespace fovea::engine::kernels
