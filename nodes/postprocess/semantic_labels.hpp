// The class of every pixel: which class's logit is the greatest, interpolated linearly between the
// cells of a map, at the network's resolution, as models do that choose themselves.
//
// Between four neighbouring cells a class that another one is above at every corner is nowhere the
// greatest. So the work of a block of pixels is that of the few classes that meet there, and one
// class's alone costs nothing per pixel.
//
// Thread safety: one thread at a time; const functions from any.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "msgs/semantic_map.hpp"
#include "msgs/tensor.hpp"
#include "nodes/postprocess/dense_map.hpp"
#include "nodes/postprocess/label_kernels.hpp"

namespace fovea {

class SemanticLabels {
 public:
  static constexpr std::uint8_t kNoLabel = msgs::SemanticMap::kNoLabel;
  static constexpr std::uint32_t kMaxSide = msgs::LetterboxTransform::kMaxSide;

  explicit SemanticLabels(bool force_scalar = false);

  // Chooses the labels of one picture, which the rest is about. Pixels beside a cell that is not
  // finite have no label. Of one class alone: where it is above 0. Allocates only with the first picture
  // of a size. REQUIRES: `transform` is valid() and of the map's network, and its scaled picture has
  // sides of at most kMaxSide; at most 255 channels.
  void draw(const DenseMap& map, const msgs::LetterboxTransform& transform);

  // In pixels of the scaled picture, without the border that the network sees.
  std::uint32_t width() const { return transform_.new_width; }
  std::uint32_t height() const { return transform_.new_height; }
  // Labels of a row; kNoLabel where the network saw nothing. REQUIRES: width() elements.
  void row(std::uint32_t y, std::span<std::uint8_t> labels) const;

  // The class of most pixels; none if no pixel has one.
  std::optional<std::uint32_t> greatest() const;
  // So many of the last rows have no room in a message.
  std::uint32_t rows_without_room() const { return rows_without_room_; }

  // All but the header and the names of the classes.
  void write(msgs::SemanticMap& out) const;

 private:
  // The pixels between two neighbouring cells of an axis.
  struct Block {
    std::uint32_t first = 0;
    std::uint32_t end = 0;
    std::uint32_t cell = 0;
    std::uint32_t next = 0;
  };
  struct Axis {
    std::vector<Block> blocks;
    std::vector<float> shares;  // by pixel: of the way to the next cell; padded
  };
  static Axis axis_of(std::uint32_t cells, std::uint32_t stride);
  // What of the network's pixels along an axis the picture covers.
  struct Window {
    std::uint32_t first = 0;
    std::uint32_t end = 0;
  };
  static Window window_of(std::uint32_t pad, std::uint32_t scaled, std::uint32_t network);

  void prepare(const DenseMap& map);
  // Fills runs_ and pixels_.
  void encode();
  void draw_block(const DenseMap& map, const Block& rows, const Block& columns);
  void fill(const Block& rows, const Block& columns, std::uint8_t label);
  std::uint8_t* labels_at(std::uint32_t y, std::uint32_t x) {
    return labels_.data() + y * row_bytes_ + x;
  }

  const label_kernels::Kernels& kernels_;
  Axis rows_;
  Axis columns_;
  DenseMap prepared_;  // its extents
  std::size_t row_bytes_ = 0;
  std::vector<std::uint8_t> labels_;  // of the network's pixels, rows padded
  Window visible_rows_;
  Window visible_columns_;
  msgs::LetterboxTransform transform_;
  std::vector<std::uint16_t> candidates_;
  std::vector<label_kernels::Line> lines_;
  std::vector<msgs::LabelRun> runs_;  // of the picture's rows
  std::array<std::uint32_t, 256> pixels_{};
  std::uint32_t rows_without_room_ = 0;
};

}  // namespace fovea
