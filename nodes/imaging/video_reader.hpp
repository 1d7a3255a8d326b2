// Video files and RTSP streams, through FFmpeg's own libraries.
//
// Not through OpenCV's VideoCapture, because that class converts into a buffer of its own and
// copies from there, cannot tell the end of a file from damage, hides the reason of a failure, and
// cannot be interrupted while it waits for a network peer. FFmpeg writes the converted pixels
// straight into the destination and asks us, while it waits, whether it may go on.
//
// - Frames come out upright: a display matrix that turns by quarters or mirrors is applied, with
//   one copy more; sizes are those of the upright frame.
// - Colours are 8-bit BGR, by the matrix and range that the stream states; BT.601 and limited range
//   where it states none, as FFmpeg's and OpenCV's own tools take it. Matrices that libswscale does
//   not have (YCgCo, ICtCp, constant luminance) are refused by name. Alpha is ignored.
// - A frame whose decoder concealed damage is said to be damaged.
//
// Errors do not name the source; callers do, and they know which part of a URL is secret.
//
// Thread safety: one thread at a time; a stop request also ends a wait for the network, within
// 100 ms.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "nodes/base/result.hpp"
#include "nodes/imaging/image_target.hpp"
#include "nodes/imaging/size_limit.hpp"

namespace fovea::imaging {

enum class VideoKind { kFile, kStream };

struct VideoOptions {
  VideoKind kind = VideoKind::kFile;
  // Decoder threads. 1 adds no delay and leaves the other cores to the pipeline.
  std::uint32_t threads = 1;
  std::chrono::nanoseconds open_timeout = std::chrono::seconds(10);
  std::uint64_t max_pixels = kDefaultMaxPixels;
};

struct VideoInfo {
  std::uint32_t width = 0;  // upright, of the first frame
  std::uint32_t height = 0;
  double fps = 0;                            // nominal; 0 = unknown
  std::optional<std::uint64_t> frame_count;  // files, where the container says it
  std::optional<double> duration;            // s; files, where known
  std::string remark;                        // what people should know; empty if nothing
};

class VideoReader {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  enum class Outcome {
    kFrame,        // convert() may be called
    kDamaged,      // there is a frame, but part of it is invented (`reason` says why)
    kUndecodable,  // there was one, and nothing came of it (`reason`)
    kEnd,
    kInterrupted,  // by the stop token or the deadline
    kLost,         // the file or the connection gives no more (`reason`)
  };

  // `location` is a path or, for a stream, a whole URL with credentials. Errors: kCorrupt,
  // kUnsupported, kUnavailable (streams; may work later), kInvalidArgument (too many pixels),
  // kExhausted.
  static Result<std::unique_ptr<VideoReader>> open(const std::string& location,
                                                   const VideoOptions& options,
                                                   const std::stop_token& stop);
  ~VideoReader();

  const VideoInfo& info() const { return info_; }

  // Reads on until a frame is decoded. Waits no longer than `deadline` for a stream.
  Outcome next(Deadline deadline, const std::stop_token& stop);
  std::string reason() const;  // of the last outcome

  // Of the newest frame: its upright size, and its time since the stream's start, if it has one.
  std::uint32_t width() const;
  std::uint32_t height() const;
  std::optional<std::chrono::nanoseconds> time() const;

  // Writes the newest frame and returns the bytes that were copied on the way. Errors:
  // kUnsupported, naming the pixel format or colour matrix. REQUIRES: `target` has its size.
  Result<std::size_t> convert(const ImageTarget& target);

  // Goes to the first frame that is due at `seconds` or later, which the following next() gives; to
  // the key frame before it, then by decoding. Returns the frame's place, by the nominal rate.
  Result<std::uint64_t> seek(double seconds, const std::stop_token& stop);

  // After kEnd or kLost: what the container promised and did not give, `12 of 20 frames are there`;
  // empty if the end is one. `frames` is how many next() gave, whatever became of them.
  std::string missing_end(std::uint64_t frames) const;

 private:
  struct State;

  VideoReader();
  std::unique_ptr<State> state_;
  VideoInfo info_;
};

}  // namespace fovea::imaging
