// Video files and RTSP streams, through FFmpeg's own libraries.
//
// Not through OpenCV's VideoCapture, because that class converts into a buffer of its own and
// copies from there, cannot tell the end of a file from damage, hides the reason of a failure, and
// cannot be interrupted while it waits for a network peer. FFmpeg writes the converted pixels
// straight into the destination and asks us, while it waits, whether it may go on.
//
// Thread safety: as FrameSource; a stop request also ends a wait for the network, within 100 ms.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "nodes/camera/frame_source.hpp"

namespace fovea::frames {

enum class VideoKind { kFile, kStream };

struct VideoOptions {
  // Decoder threads. 1 adds no delay and leaves the other cores to the pipeline.
  std::uint32_t threads = 1;
};

class VideoSource final : public FrameSource {
 public:
  // `location` is a path (kFile) or a whole URL with credentials (kStream); `name` is safe to log.
  VideoSource(std::string name, std::string location, VideoKind kind, const VideoOptions& video,
              const SourceOptions& options);
  ~VideoSource() override;

 private:
  struct Decoder;

  Result<SourceInfo> do_open(const std::stop_token& stop) override;
  void do_close() override;
  Result<Grab> advance(Nanoseconds timeout, const std::stop_token& stop) override;
  Result<std::size_t> convert(const ImageView& destination) override;

  Result<std::unique_ptr<Decoder>> open_decoder(const std::stop_token& stop) const;
  Result<> check_file() const;
  Result<> seek(Decoder& decoder, double seconds, const std::stop_token& stop);
  Result<Grab> end_of_file();
  tl::unexpected<Error> fail_ffmpeg(ErrorCode code, std::string_view what, int error) const;

  std::string location_;
  VideoKind kind_;
  VideoOptions video_options_;
  std::unique_ptr<Decoder> decoder_;
  std::uint64_t next_index_ = 0;
  bool ended_ = false;
};

}  // namespace fovea::frames
