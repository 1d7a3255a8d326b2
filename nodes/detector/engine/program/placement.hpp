// Decides which blocked tensors share memory because one is a part of another: the outputs of a
// Split lie in its input, and producers write straight into the buffer of the Concat that follows.
//
// Positions count channel blocks: all tensors that share a buffer cover pictures of equal size.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fovea::engine {

class Placement {
 public:
  struct Position {
    std::int32_t root = -1;  // the tensor whose buffer it is
    std::int64_t block = 0;  // first block inside it
  };

  explicit Placement(std::size_t tensors) : nodes_(tensors) {}

  // REQUIRES: once per tensor, before the calls below name it.
  void add(std::int32_t tensor, std::int64_t blocks);
  // `part` is `whole`'s blocks from `block` on.
  void alias(std::int32_t part, std::int32_t whole, std::int64_t block);
  // Lays the parts of a Concat into `whole`, in order, where that is possible. Returns per part
  // whether it lies in place; the others have to be copied. REQUIRES: the sizes add up. Call for
  // later Concats first, so that a Concat of Concats becomes one buffer.
  std::vector<bool> concat(std::int32_t whole, std::span<const std::int32_t> parts);

  Position find(std::int32_t tensor) const;
  std::int64_t blocks(std::int32_t tensor) const { return node(tensor).blocks; }

 private:
  struct Node {
    std::int32_t parent = -1;
    std::int64_t offset = 0;
    std::int64_t blocks = 0;
  };
  Node& node(std::int32_t tensor) { return nodes_[static_cast<std::size_t>(tensor)]; }
  const Node& node(std::int32_t tensor) const { return nodes_[static_cast<std::size_t>(tensor)]; }

  std::vector<Node> nodes_;
};

}  // namespace fovea::engine
