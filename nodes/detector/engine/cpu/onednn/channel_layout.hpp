// Which logical channel each physical channel of a blocked tensor holds.
//
// Activations lie as nChw16c (nChw8c below AVX-512): blocks of channels, each block dense over the
// picture. With one item, any run of whole blocks is a dense tensor of its own, so Concat and Split
// cost nothing as long as parts begin on block boundaries. Channel counts that are no multiple of
// the block are therefore padded part by part: 12 + 12 channels lie as 12, 4 empty, 12, 4 empty.
// The weights follow the layout, so empty channels meet zero weights and whatever finite value they
// hold never matters.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fovea::engine::cpu::onednn {

struct ChannelLayout {
  std::vector<std::int32_t>
      logical;  // per physical channel, -1 = empty; size is a multiple of the block

  bool operator==(const ChannelLayout&) const = default;
  std::int64_t physical() const { return static_cast<std::int64_t>(logical.size()); }

  // Parts of `sizes` logical channels, each padded to a multiple of `block`.
  static ChannelLayout padded(std::span<const std::int64_t> sizes, std::int64_t block);
  static ChannelLayout padded(std::int64_t channels, std::int64_t block) {
    return padded(std::span(&channels, 1), block);
  }
  // Several tensors one after the other, as Concat numbers their channels.
  static ChannelLayout concat(std::span<const ChannelLayout> parts);

  // Logical channels [first, first + count) as a run of whole blocks: the layout of that run and
  // the physical channel it starts at. False if they do not lie so.
  bool slice(std::int64_t first, std::int64_t count, std::int64_t block, ChannelLayout& part,
             std::int64_t& start) const;
};

}  // namespace fovea::engine::cpu::onednn
