// Masks of detections as run lengths of the source picture, column by column.
//
// A mask is where the weighted sum of the prototypes is above 0, interpolated linearly between their
// cells and cut to the detection's box. Between two neighbouring cells of a column that sum is a
// straight line, so it changes its sign at most once, at a place that can be computed: the work is
// that of the prototypes' cells, however many pixels of the source lie between them.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "msgs/tensor.hpp"
#include "nodes/postprocess/anchor_details.hpp"
#include "nodes/postprocess/decode_kernels.hpp"

namespace fovea {

// Corners in pixels of the source picture, inside it.
struct MaskBox {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
};

class InstanceMasks {
 public:
  explicit InstanceMasks(bool force_scalar = false);

  enum class Outcome {
    kWritten,
    kEmpty,      // not a pixel is above 0
    kNotFinite,  // NaN or infinity among the prototypes' sums
    kNoRoom,     // more runs than `runs` has room for
  };

  // Writes the runs of one mask to the front of `runs` and their number to `count`: pixels of the whole
  // picture, out of the mask and in it by turns, as msgs::InstanceMask2D has them. Unless kWritten,
  // `count` is 0. Allocates only with the first mask of a model. REQUIRES: `transform`
  // is valid() and of the prototypes' network; as many coefficients as prototypes.
  Outcome write(const Prototypes& prototypes, std::span<const float> coefficients,
                const MaskBox& box, const msgs::LetterboxTransform& transform,
                std::span<std::uint32_t> runs, std::size_t& count);

 private:
  // Finer cells, inclusive.
  struct Window {
    std::uint32_t left, right, top, bottom;
  };
  // Fills sums_. False if one of them is no number.
  bool sum_up(const Prototypes& prototypes, std::span<const float> coefficients,
              std::uint32_t times, const Window& window);

  const decode_kernels::Kernels& kernels_;
  std::vector<float> cells_;               // sums of the prototypes' cells, row by row
  std::vector<float> sums_;                // of the box's finer cells, column by column
  std::vector<float> column_;              // between two columns of cells
  std::vector<std::uint32_t> first_rows_;  // of the source, beyond each row of cells
};

}  // namespace fovea
