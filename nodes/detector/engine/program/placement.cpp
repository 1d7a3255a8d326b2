// A forest of "lies inside, at this offset". Every block of a buffer keeps exactly one producer,
// which is what makes sharing safe: a tensor moves into a Concat only if the whole buffer it lies
// in fits there and everything else that the Concat wants at that place is part of the same buffer,
// at the same offset.
#include "nodes/detector/engine/program/placement.hpp"

namespace fovea::engine {

void Placement::add(std::int32_t tensor, std::int64_t blocks) { node(tensor).blocks = blocks; }

void Placement::alias(std::int32_t part, std::int32_t whole, std::int64_t block) {
  node(part).parent = whole;
  node(part).offset = block;
}

Placement::Position Placement::find(std::int32_t tensor) const {
  Position position{tensor, 0};
  while (node(position.root).parent >= 0) {
    position.block += node(position.root).offset;
    position.root = node(position.root).parent;
  }
  return position;
}

std::vector<bool> Placement::concat(std::int32_t whole, std::span<const std::int32_t> parts) {
  const Position base = find(whole);
  const std::int64_t limit = base.block + blocks(whole);
  std::vector<std::int64_t> wanted;
  std::int64_t next = base.block;
  for (const std::int32_t part : parts) {
    wanted.push_back(next);
    next += blocks(part);
  }
  std::vector<bool> in_place(parts.size(), false);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Position now = find(parts[i]);
    if (now.root == base.root) {
      in_place[i] = now.block == wanted[i];
      continue;
    }
    const std::int64_t start = wanted[i] - now.block;
    const std::int64_t end = start + blocks(now.root);
    bool free = start >= base.block && end <= limit;
    for (std::size_t j = 0; j < parts.size() && free; ++j) {
      if (wanted[j] >= end || wanted[j] + blocks(parts[j]) <= start) continue;
      const Position other = find(parts[j]);
      free = other.root == now.root && other.block == wanted[j] - start;
    }
    if (!free) continue;
    alias(now.root, base.root, start);
    in_place[i] = true;
  }
  return in_place;
}

}  // namespace fovea::engine
