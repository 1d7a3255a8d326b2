// Small videos for tests, through FFmpeg's encoders: with time stamps, display matrices, colours and
// damage of the test's choice.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace fovea::imaging {

struct MadeVideo {
  std::string path;             // its extension chooses the container
  std::string codec = "mpeg4";  // an encoder of FFmpeg's
  int width = 64;
  int height = 48;
  int frames = 20;
  int fps = 10;
  int key_frame_distance = 5;
  // ms by frame; empty = by fps. Rising, since encoders and containers want that.
  std::vector<std::int64_t> stamps_ms{};
  std::optional<std::array<std::int32_t, 9>> matrix{};
  bool full_range = false;
  bool bt709 = false;
  bool index_first = false;  // MP4: the index before the frames, as web servers want it
  // {luma, cb, cr} of a pixel.
  std::function<std::array<int, 3>(int frame, int x, int y)> paint{};
  // May change an encoded frame before it is written.
  std::function<void(int frame, std::vector<std::uint8_t>& bytes)> damage{};
  // May change a frame's stamp before it is written, ms.
  std::function<std::int64_t(int frame, std::int64_t stamp_ms)> restamp{};
};

// False, with a message on stderr, if FFmpeg cannot.
bool make_video(const MadeVideo& video);

}  // namespace fovea::imaging
