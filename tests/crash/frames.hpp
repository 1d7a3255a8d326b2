// Frames whose every 64-bit word is the frame's number: any mixture of two frames shows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "msgs/image.hpp"
#include "nodes/runtime/topics/pubsub.hpp"

namespace fovea::test {

inline constexpr std::string_view kCrashTopic = "cam0/image";
inline constexpr std::size_t kFrameWords = 4096;
inline constexpr std::size_t kFrameBytes = kFrameWords * 8;

inline bool publish_frame(Publisher<msgs::Image>& images, std::uint64_t seq) {
  auto buffer = images.loan(kFrameBytes);
  if (!buffer) return false;
  auto* words = reinterpret_cast<std::uint64_t*>(buffer->data().data());
  std::fill_n(words, kFrameWords, seq);
  msgs::Image image;
  image.header.seq = seq;
  images.publish(image, std::move(*buffer), kFrameBytes);
  return true;
}

inline bool intact(const Received<msgs::Image>& received) {
  if (received.buffer.data().size() != kFrameBytes) return false;
  const auto* words = reinterpret_cast<const std::uint64_t*>(received.buffer.data().data());
  return std::all_of(words, words + kFrameWords,
                     [&](std::uint64_t word) { return word == received.message.header.seq; });
}

}  // namespace fovea::test
