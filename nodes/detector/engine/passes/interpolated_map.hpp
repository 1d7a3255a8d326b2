// A coarse map at the pixels of a finer one, interpolated linearly: what proofs of dense heads compare
// a model's own tail with. Internal to the recognisers of heads.
//
// Thread safety: const functions.
#pragma once

#include <cstdint>
#include <vector>

#include "nodes/detector/engine/reference/evaluate.hpp"

namespace fovea::engine {

// Where the cells of a map lie.
enum class CellPlace {
  kCentres,  // each in the middle of its pixels; what lies outside has the outermost one's value
  kCorners,  // the first and the last on the edges of the picture (align_corners)
};

class InterpolatedMap {
 public:
  // `map`: f32 [1, channels, h, w], borrowed. REQUIRES: it is not empty.
  InterpolatedMap(const reference::Tensor& map, std::int64_t height, std::int64_t width,
                  CellPlace place);

  std::int64_t channels() const { return map_.dims[1]; }
  float at(std::int64_t channel, std::int64_t y, std::int64_t x) const;

 private:
  struct Step {
    std::int64_t cell = 0;
    std::int64_t next = 0;
    float share = 0;  // of the next one
  };
  static std::vector<Step> steps(std::int64_t cells, std::int64_t pixels, CellPlace place);

  const reference::Tensor& map_;
  std::vector<Step> rows_;
  std::vector<Step> columns_;
};

}  // namespace fovea::engine
