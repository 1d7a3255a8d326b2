// Scales a picture bilinearly with antialiasing and keeps the part inside a crop: a reduction
// averages all source pixels under a triangle as wide as itself, where the letterbox mixes the
// nearest four. Gives the bytes of PIL's Image.resize(BILINEAR), with which classifiers are trained
// and tested.
//
// Along the rows first, rounded to 8 bits, then along the columns. (PIL 13 begins with the columns
// where the height shrinks by much more than the width: bytes then differ by 1 at most.) Only
// source rows and columns that reach the crop are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "msgs/tensor.hpp"
#include "nodes/preprocess/antialias_kernels.hpp"
#include "nodes/preprocess/colour_rows.hpp"
#include "nodes/preprocess/image_view.hpp"
#include "nodes/preprocess/letterbox_kernels.hpp"

namespace fovea {

// Which source positions make each output position of one axis, and how much each weighs.
struct AntialiasAxis {
  std::uint32_t begin = 0;                         // the first source position that is read
  std::uint32_t length = 0;                        // so many are
  std::vector<antialias_kernels::Window> windows;  // per output position, from `begin` on, in order
  std::vector<std::int32_t> weights;               // a row of `stride` per output position
  std::size_t stride = 0;
  std::uint32_t longest = 0;  // of the windows
};

// Output positions [crop, crop + size) of an axis that is scaled from `source_size` to `new_size`.
// REQUIRES: 1 <= source_size, 1 <= size <= new_size - crop.
AntialiasAxis make_antialias_axis(std::uint32_t source_size, std::uint32_t new_size,
                                  std::uint32_t crop, std::uint32_t size);

// For one source size.
struct AntialiasPlan {
  AntialiasAxis columns;
  AntialiasAxis rows;
};

// REQUIRES: valid(), without padding.
AntialiasPlan make_antialias_plan(const msgs::LetterboxTransform& transform);

// Thread safety: one thread at a time.
class AntialiasedResize {
 public:
  explicit AntialiasedResize(bool force_scalar = false);

  // Memory for a plan; without, run() allocates it.
  void reserve(const AntialiasPlan& plan, std::uint32_t channels, std::uint32_t source_width);

  // Writes u8 [plan.rows, plan.columns, 3] RGB, dense. REQUIRES: `source` fits its pixels, has the
  // plan's size and an encoding, whose order is `order` (kRgb for one that ColourRows reads).
  void run(const AntialiasPlan& plan, const ImageView& source, letterbox_kernels::Order order,
           std::uint8_t* rgb);

 private:
  std::uint8_t* filtered_row(const AntialiasPlan& plan, std::uint32_t channels, std::uint32_t row);
  void filter_rows(const AntialiasPlan& plan, const ImageView& source, std::uint32_t first);

  const antialias_kernels::Kernels* kernels_;
  const letterbox_kernels::Kernels* convert_;
  std::vector<std::uint8_t> block_, filtered_;  // source rows of a block, and what is made of them
  std::vector<std::uint8_t> ring_;              // filtered rows, as many as can be needed at a time
  std::vector<const std::uint8_t*> window_;     // those of one output row
  std::vector<std::uint8_t> output_;            // one row in the source's order
  ColourRows colours_;
  std::vector<std::uint8_t> rgb_rows_;  // of a block, of encodings that the kernels do not read
};

}  // namespace fovea
