// Finds attention in a network: matrix product, factor, Softmax, matrix product, and whatever moves
// elements around and between them. Not by spelling: every operand is followed, element by element,
// to the picture that it comes from and the result to the picture that it becomes, so that any order
// of heads, areas, q, k and v that the kernel can run is taken as it is, and nothing else.
//
// Thread safety: pure.
#pragma once

#include <string>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/attention.hpp"
#include "nodes/detector/engine/cpu/native/storage.hpp"
#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine::cpu::native {

struct Attention {
  // All layers that it stands for, in order; nobody else reads what is between them. It can run in
  // place of the last.
  std::vector<std::size_t> layers;
  std::vector<std::size_t> computing;  // those of them that do more than move elements
  ValueId q = kNoValue;                // pictures, may be one
  ValueId k = kNoValue;
  ValueId v = kNoValue;
  ValueId to = kNoValue;
  std::int64_t positions = 0;
  std::int64_t key_dim = 0;
  std::int64_t value_dim = 0;
  float scale = 1;
  std::vector<kernels::AttentionPair> pairs;
};

struct AttentionSearch {
  std::vector<Attention> found;
  // "LAYER: reason" for each Softmax between two matrix products that is no attention for us.
  std::vector<std::string> declined;
};

// REQUIRES: inferred shapes of one item.
AttentionSearch find_attention(const NetworkDefinition& network, const KnownValues& known,
                               const Storage& storage);

}  // namespace fovea::engine::cpu::native
