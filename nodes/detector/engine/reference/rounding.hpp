// 8 bits for the reference provider: f32 numbers that are rounded to the grids of
// NetworkDefinition::quantization wherever an int8 kernel would round.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::reference {

// Nearest code of `grid`, ties to even, clamped; as the value that it stands for.
void round_to_grid(const QuantizationGrid& grid, std::int32_t first_code, std::span<float> values);

// kInt8 convolutions get the weights that their s8 codes stand for.
void round_weights(NetworkDefinition& network);

// What follows the operator of one layer. Copyable; keeps no reference.
class Rounding {
 public:
  Rounding(const NetworkDefinition& network, std::size_t layer);

  bool any() const { return any_; }
  // The operator must run without activation and residual, because a rounding comes between.
  bool splits_layer() const { return static_cast<bool>(pre_activation_); }
  Layer plain_layer() const { return plain_; }
  // `residual` may be null. REQUIRES: the tensors of the layer.
  void apply(std::span<Constant* const> outputs, const Constant* residual) const;

 private:
  bool any_ = false;
  Layer plain_;
  QuantizationGrid pre_activation_;
  std::array<float, 256> table_{};  // by s8 code from -128 on: what the activation makes of it
  std::vector<QuantizationGrid> outputs_;
};

}  // namespace fovea::engine::reference
