// A decoded video frame as upright bgr8. Used by video_reader.cpp alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "nodes/base/result.hpp"
#include "nodes/imaging/image_target.hpp"
#include "nodes/imaging/orientation.hpp"

struct AVFrame;
struct SwsContext;

namespace fovea::imaging {

class VideoScaler {
 public:
  VideoScaler() = default;
  VideoScaler(const VideoScaler&) = delete;
  VideoScaler& operator=(const VideoScaler&) = delete;
  ~VideoScaler();

  // As VideoReader::convert().
  Result<std::size_t> convert(const AVFrame& frame, Orientation orientation,
                              const ImageTarget& target);

 private:
  struct Free {
    void operator()(std::uint8_t* memory) const;
  };

  // Points the context at the frame's geometry and colours.
  Result<> prepare(const AVFrame& frame);
  bool scale(const AVFrame& frame, std::uint8_t* data, std::size_t step);

  SwsContext* context_ = nullptr;
  int width_ = 0;
  int height_ = 0;
  int format_ = -1;
  int colorspace_ = -1;
  int range_ = -1;
  std::unique_ptr<std::uint8_t, Free> scratch_;  // for targets that libswscale cannot write to
  std::size_t scratch_bytes_ = 0;
};

}  // namespace fovea::imaging
