// The frames that every transport carries, so that all are filled and checked alike: 64 bytes of
// header, then pixels that repeat the frame's number. A mixture of two frames shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace fovea::bench {

enum class Touch {
  kPage,       // one byte per 4 KiB is written and read: the transport alone
  kEveryByte,  // all are: what a camera and a network do
};

struct FrameHeader {
  std::int64_t stamp_ns = 0;  // CLOCK_MONOTONIC, just before the frame is handed over
  std::uint64_t seq = 0;      // from 1
  std::uint64_t bytes = 0;    // of the whole frame
  std::uint32_t warm_up = 0;  // 1 = not measured
  std::uint32_t last = 0;     // 1 = the publisher is done
  std::uint64_t padding[4]{};
};
static_assert(sizeof(FrameHeader) == 64);

inline constexpr std::size_t kTouchStep = 4096;

// REQUIRES: frame.size() >= sizeof(FrameHeader), 8-byte aligned.
inline void fill_pixels(std::span<std::byte> frame, std::uint64_t seq, Touch touch) {
  std::byte* pixels = frame.data();
  const int value = static_cast<int>(seq & 0xff);
  if (touch == Touch::kEveryByte) {
    std::memset(pixels + sizeof(FrameHeader), value, frame.size() - sizeof(FrameHeader));
  } else {
    for (std::size_t i = sizeof(FrameHeader); i < frame.size(); i += kTouchStep)
      pixels[i] = static_cast<std::byte>(value);
  }
}

// Whether the pixels are those of frame `seq`.
inline bool intact(std::span<const std::byte> frame, std::uint64_t seq, Touch touch) {
  const std::uint64_t value = (seq & 0xff) * 0x0101010101010101u;
  std::uint64_t difference = 0;
  if (touch == Touch::kPage) {
    for (std::size_t i = sizeof(FrameHeader); i < frame.size(); i += kTouchStep)
      difference |= static_cast<std::uint64_t>(frame[i]) ^ (seq & 0xff);
    return difference == 0;
  }
  for (std::size_t i = sizeof(FrameHeader); i + 8 <= frame.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, frame.data() + i, 8);
    difference |= word ^ value;
  }
  return difference == 0;
}

}  // namespace fovea::bench
