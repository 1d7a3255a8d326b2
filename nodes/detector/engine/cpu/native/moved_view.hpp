// How a tensor lies in another one that it was only moved out of, element by element: through
// reshapes, transposes, splits and slices, even where no single stride per axis could say it (the
// channels of a picture that were gathered from several heads).
//
// Thread safety: none; used while compiling.
#pragma once

#include <optional>
#include <vector>

#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/program/strides.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine::cpu::native {

// Strides of a picture [1, C, H, W] whose channels lie side by side.
Dims channels_last(const Dims& extents);

// Each output of the layer holds elements of its first input, in another order or some of them.
bool only_moves(const Layer& layer);

class MovedView {
 public:
  MovedView(const Dims& extents, const Dims& strides);

  // From a view of the layer's first input to one of its `output`. False, and nothing that is of
  // use any more, if the elements are not at regular steps. REQUIRES: only_moves().
  bool follow(const NetworkDefinition& network, const KnownValues& known, const Layer& layer,
              ValueId output);
  // From a view of the layer's output to one of its input. False as above, or if the layer leaves
  // elements out. REQUIRES: only_moves().
  bool undo(const NetworkDefinition& network, const Layer& layer);

  std::size_t rank() const { return axes_.size(); }
  // Where the first element lies.
  std::int64_t offset() const { return offset_; }
  // From one index of an axis to the next; 0 for an extent of 1, nullopt if the steps differ.
  std::optional<std::int64_t> stride(std::size_t axis) const;
  // Where, behind offset(), the elements lie that have index 0 on all axes but [first, end); in
  // row-major order.
  std::vector<std::int64_t> steps(std::size_t first, std::size_t end) const;

 private:
  struct Part {
    std::int64_t extent = 1;
    std::int64_t stride = 0;
  };
  // Outermost first, extents above 1, none that lies as one with its neighbour.
  using Axis = std::vector<Part>;

  static void append(Axis& axis, Part part);
  bool reshape(const Dims& to);
  bool transpose(const std::vector<std::int64_t>& order);
  bool cut(std::size_t axis, std::int64_t start, std::int64_t step, std::int64_t count);
  Dims extents() const;

  std::vector<Axis> axes_;
  std::int64_t offset_ = 0;
};

}  // namespace fovea::engine::cpu::native
