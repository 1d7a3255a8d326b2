// Boxes that are turned, and their suppression.
//
// How much two of them overlap is told by the Gaussians with their centres and extents (ProbIoU, Llerena
// et al. 2021, arXiv 2106.06072), as the networks are trained: in closed form, without clipping
// polygons.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "nodes/postprocess/options.hpp"

namespace fovea {

struct TurnedBox {
  float center_x = 0;
  float center_y = 0;
  float size_x = 0;  // along its own axes
  float size_y = 0;
  float theta = 0;  // radians from the picture's x axis to the box's, towards y
};

// Of a uniform density over a box: centre and covariance.
struct Gaussian {
  float x, y, xx, yy, xy, determinant;
  std::uint32_t class_id = 0;
};

// The upright box around it: x1, y1, x2, y2. Sizes that are not positive make it empty.
struct UprightBox {
  float x1, y1, x2, y2;
};
UprightBox upright(const TurnedBox& box);

// The overlap, 0..1.
float overlap(const TurnedBox& a, const TurnedBox& b);

// Thread safety: one thread at a time. `run` allocates only to make room for more boxes than ever
// before.
class TurnedSuppression {
 public:
  struct Box {
    TurnedBox box;
    float score;
    std::uint32_t class_id;
  };

  void reserve(std::size_t boxes);

  // Numbers of the boxes that stay, by falling score; equal scores in the order of `boxes`. A box goes
  // when one of a higher score and its class overlaps it by more than options.iou_threshold, whether
  // that one stays or not. Valid until the next call. REQUIRES: finite boxes, scores >= 0.
  std::span<const std::uint32_t> run(std::span<const Box> boxes, const PostprocessOptions& options);

 private:
  std::vector<std::uint64_t> order_;  // see sort_by_score()
  std::vector<Gaussian> before_;      // those of higher scores
  std::vector<std::uint32_t> kept_;
};

}  // namespace fovea
