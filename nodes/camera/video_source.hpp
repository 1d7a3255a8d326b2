// Video files and RTSP streams as cameras (imaging/video_reader.hpp): pace, loops, and an end that
// is told from a file that lacks its tail.
//
// Files are played by their own time stamps. Frames in which the decoder had to conceal damage are
// bad ones. Thread safety: as FrameSource; a stop request also ends a wait for the network, within
// 100 ms.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "nodes/camera/frame_source.hpp"
#include "nodes/camera/media_timeline.hpp"
#include "nodes/imaging/video_reader.hpp"

namespace fovea::frames {

class VideoSource final : public FrameSource {
 public:
  // `location` is a path (kFile) or a whole URL with credentials (kStream); `name` is safe to log.
  // Of `video`, open_timeout and max_pixels are taken from `options`.
  VideoSource(std::string name, std::string location, const imaging::VideoOptions& video,
              const SourceOptions& options);

  Result<> check_files() const override;

 private:
  Result<SourceInfo> do_open(const std::stop_token& stop) override;
  void do_close() override;
  Result<Grab> advance(Nanoseconds timeout, const std::stop_token& stop) override;
  Result<std::size_t> convert(const ImageTarget& destination) override;

  bool is_file() const { return video_.kind == imaging::VideoKind::kFile; }
  Result<std::unique_ptr<imaging::VideoReader>> open_reader(const std::stop_token& stop) const;
  // The frame that the reader has, or a bad one.
  Grab frame(GrabStatus status);

  std::string location_;
  imaging::VideoOptions video_;
  std::unique_ptr<imaging::VideoReader> reader_;
  MediaTimeline timeline_;
  std::uint64_t next_index_ = 0;
  bool ended_ = false;
};

}  // namespace fovea::frames
