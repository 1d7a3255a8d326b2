// Where the values of a network lie on the GPU: which are pictures (channels last), which are f16,
// and which share a buffer because one is a part of another.
//
// Thread safety: none; used while compiling.
#pragma once

#include <vector>

#include "nodes/detector/engine/cuda/program.hpp"
#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/program/placement.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine::cuda {

// Kernels move 16 bytes at once: channel ranges and pixels begin at multiples of it.
inline constexpr std::int64_t kVectorBytes = 16;

class Layout {
 public:
  // f16 wherever a convolution still follows and none of those around a value asks for f32, if the
  // network says f16 at all. REQUIRES: inferred shapes.
  Layout(const NetworkDefinition& network, const KnownValues& known);

  // [1, C, H, W] that lies channels last.
  bool is_picture(ValueId id) const { return pictures_[index(id)]; }
  Scalar scalar(ValueId id) const { return scalars_[index(id)]; }

  // Calls of the first phase, before any home is asked for. False: it has to be copied.
  bool split(const Layer& layer);
  std::vector<bool> concat(const Layer& layer);  // later concats first

  // Second phase: a place of its own, made by the first call.
  Tensor home(ValueId id);
  // A buffer of its own, channels last or without gaps, whatever its home is.
  Tensor temporary(ValueId id);
  Tensor temporary_plain(ValueId id);
  std::vector<std::int64_t> take_buffers() { return std::move(buffers_); }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
  bool whole_vectors(const std::vector<ValueId>& ids) const;
  // In `buffer`, made if it is -1.
  Tensor lay(ValueId id, bool picture, std::int64_t channels, std::int64_t first,
             std::int32_t& buffer);

  const NetworkDefinition& network_;
  std::vector<bool> pictures_;
  std::vector<Scalar> scalars_;
  Placement placement_;
  std::vector<std::int32_t> buffer_of_;  // by root, -1: none yet
  std::vector<std::int64_t> buffers_;
};

// Bytes of one element.
std::int64_t size_of(Scalar scalar);

}  // namespace fovea::engine::cuda
