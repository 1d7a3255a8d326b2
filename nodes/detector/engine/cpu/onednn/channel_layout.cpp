// Bookkeeping of padded channels; see the header for why.
#include "nodes/detector/engine/cpu/onednn/channel_layout.hpp"

#include <algorithm>

namespace fovea::engine::cpu::onednn {

ChannelLayout ChannelLayout::padded(std::span<const std::int64_t> sizes, std::int64_t block) {
  ChannelLayout layout;
  std::int32_t next = 0;
  for (const std::int64_t size : sizes) {
    for (std::int64_t i = 0; i < size; ++i) layout.logical.push_back(next++);
    while (layout.physical() % block != 0) layout.logical.push_back(-1);
  }
  return layout;
}

ChannelLayout ChannelLayout::concat(std::span<const ChannelLayout> parts) {
  ChannelLayout layout;
  std::int32_t first = 0;
  for (const ChannelLayout& part : parts) {
    std::int32_t channels = 0;
    for (const std::int32_t channel : part.logical) {
      layout.logical.push_back(channel < 0 ? -1 : first + channel);
      channels = std::max(channels, channel + 1);
    }
    first += channels;
  }
  return layout;
}

bool ChannelLayout::slice(std::int64_t first, std::int64_t count, std::int64_t block,
                          ChannelLayout& part, std::int64_t& start) const {
  const auto inside = [&](std::int32_t channel) {
    return channel >= first && channel < first + count;
  };
  const auto begin = std::find_if(logical.begin(), logical.end(), inside);
  if (begin == logical.end()) return false;
  auto end = std::find_if(logical.rbegin(), logical.rend(), inside).base();
  start = begin - logical.begin();
  if (start % block != 0) return false;
  while ((end - begin) % block != 0) {  // the rest of the last block must be empty
    if (end == logical.end() || *end != -1) return false;
    ++end;
  }
  part.logical.clear();
  std::int64_t found = 0;
  for (auto channel = begin; channel != end; ++channel) {
    if (*channel >= 0 && !inside(*channel)) return false;
    part.logical.push_back(*channel < 0 ? -1 : static_cast<std::int32_t>(*channel - first));
    found += *channel >= 0 ? 1 : 0;
  }
  return found == count;
}

}  // namespace fovea::engine::cpu::onednn
