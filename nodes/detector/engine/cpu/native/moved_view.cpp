#include "nodes/detector/engine/cpu/native/moved_view.hpp"

#include <utility>

#include "nodes/detector/engine/shapes/geometry.hpp"

namespace fovea::engine::cpu::native {

namespace {

// nullopt for one that no shape inference lets through.
std::optional<std::vector<std::int64_t>> order_of(const Layer& layer, std::size_t rank) {
  std::vector<std::int64_t> reversed(rank);
  for (std::size_t i = 0; i < rank; ++i) reversed[i] = static_cast<std::int64_t>(rank - 1 - i);
  std::vector<std::int64_t> order = layer.ints_attribute("perm", reversed);
  if (order.size() != rank) return std::nullopt;
  for (std::int64_t& axis : order) {
    const auto resolved = resolve_axis(axis, rank);
    if (!resolved) return std::nullopt;
    axis = static_cast<std::int64_t>(*resolved);
  }
  return order;
}

}  // namespace

Dims channels_last(const Dims& extents) {
  return {volume(extents), 1, extents[3] * extents[1], extents[1]};
}

bool only_moves(const Layer& layer) {
  if (layer.activation != Activation::kNone || layer.residual != kNoValue) return false;
  switch (layer.op) {
    case OpType::kFlatten:
    case OpType::kIdentity:
    case OpType::kReshape:
    case OpType::kSlice:
    case OpType::kSplit:
    case OpType::kSqueeze:
    case OpType::kTranspose:
    case OpType::kUnsqueeze:
      return true;
    default:
      return false;
  }
}

MovedView::MovedView(const Dims& extents, const Dims& strides) {
  for (std::size_t i = 0; i < extents.size(); ++i) {
    axes_.emplace_back();
    append(axes_.back(), {extents[i], strides[i]});
  }
}

void MovedView::append(Axis& axis, Part part) {
  if (part.extent == 1) return;
  if (!axis.empty() && axis.back().stride == part.stride * part.extent) {
    axis.back() = {axis.back().extent * part.extent, part.stride};
  } else {
    axis.push_back(part);
  }
}

Dims MovedView::extents() const {
  Dims result;
  for (const Axis& axis : axes_) {
    result.push_back(1);
    for (const Part& part : axis) result.back() *= part.extent;
  }
  return result;
}

bool MovedView::reshape(const Dims& to) {
  if (volume(to) != volume(extents()) || volume(to) == 0) return false;
  Axis parts;
  for (const Axis& axis : axes_) {
    for (const Part& part : axis) append(parts, part);
  }
  axes_.assign(to.size(), {});
  auto next = parts.begin();
  for (std::size_t i = 0; i < to.size(); ++i) {
    for (std::int64_t missing = to[i]; missing > 1;) {
      if (missing % next->extent == 0) {
        missing /= next->extent;
        append(axes_[i], *next++);
      } else if (next->extent % missing == 0) {
        next->extent /= missing;
        append(axes_[i], {missing, next->stride * next->extent});
        missing = 1;
      } else {
        return false;
      }
    }
  }
  return true;
}

bool MovedView::transpose(const std::vector<std::int64_t>& order) {
  std::vector<Axis> moved;
  for (const std::int64_t axis : order) moved.push_back(axes_[static_cast<std::size_t>(axis)]);
  axes_ = std::move(moved);
  return true;
}

bool MovedView::cut(std::size_t axis, std::int64_t start, std::int64_t step, std::int64_t count) {
  Axis& parts = axes_[axis];
  std::int64_t extent = 1;
  for (const Part& part : parts) extent *= part.extent;
  if (start == 0 && step == 1 && count == extent) return true;
  if (parts.size() != 1) return false;
  offset_ += start * parts[0].stride;
  const Part part{count, parts[0].stride * step};
  parts.clear();
  append(parts, part);
  return true;
}

bool MovedView::follow(const NetworkDefinition& network, const KnownValues& known,
                       const Layer& layer, ValueId output) {
  const Dims& from = network.value(layer.inputs[0]).dims;
  switch (layer.op) {
    case OpType::kTranspose: {
      const auto order = order_of(layer, rank());
      return order && transpose(*order);
    }
    case OpType::kSplit: {
      const auto axis = resolve_axis(layer.int_attribute("axis", 0), rank());
      if (!axis) return false;
      std::int64_t start = 0;
      for (const ValueId part : layer.outputs) {
        const std::int64_t count = network.value(part).dims[*axis];
        if (part == output) return cut(*axis, start, 1, count);
        start += count;
      }
      return false;
    }
    case OpType::kSlice: {
      const auto axes =
          resolve_slice(from, known_ints(known, layer, 1), known_ints(known, layer, 2),
                        known_ints(known, layer, 3), known_ints(known, layer, 4));
      if (!axes) return false;
      for (std::size_t i = 0; i < axes->size(); ++i) {
        const SliceAxis& axis = (*axes)[i];
        if (axis.step < 1 || !cut(i, axis.start, axis.step, axis.count)) return false;
      }
      return extents() == network.value(output).dims;
    }
    default:
      return reshape(network.value(output).dims);
  }
}

bool MovedView::undo(const NetworkDefinition& network, const Layer& layer) {
  switch (layer.op) {
    case OpType::kTranspose: {
      const auto order = order_of(layer, rank());
      if (!order) return false;
      std::vector<std::int64_t> back(order->size());
      for (std::size_t i = 0; i < order->size(); ++i) {
        back[static_cast<std::size_t>((*order)[i])] = static_cast<std::int64_t>(i);
      }
      return transpose(back);
    }
    case OpType::kSlice:
    case OpType::kSplit:
      return false;
    default:
      return reshape(network.value(layer.inputs[0]).dims);
  }
}

std::optional<std::int64_t> MovedView::stride(std::size_t axis) const {
  const Axis& parts = axes_[axis];
  if (parts.size() > 1) return std::nullopt;
  return parts.empty() ? 0 : parts[0].stride;
}

std::vector<std::int64_t> MovedView::steps(std::size_t first, std::size_t end) const {
  std::vector<std::int64_t> result = {0};
  for (std::size_t axis = first; axis < end; ++axis) {
    for (const Part& part : axes_[axis]) {
      std::vector<std::int64_t> finer;
      for (const std::int64_t at : result) {
        for (std::int64_t i = 0; i < part.extent; ++i) finer.push_back(at + i * part.stride);
      }
      result = std::move(finer);
    }
  }
  return result;
}

}  // namespace fovea::engine::cpu::native
