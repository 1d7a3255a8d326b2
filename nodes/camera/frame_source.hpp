// Where frames come from: cameras, streams, video files, folders of images, or a synthetic scene,
// all behind one class. Pixels go straight into memory that the caller owns (a loaned slot),
// written once:
//
//   FOVEA_ASSIGN(auto source, make_frame_source("file:///data/vtest.avi?loop=true", {}));
//   FOVEA_TRY(source->open(stop));
//   FOVEA_ASSIGN(Grab grab, source->grab(1s, stop));  // advances; the frame's size is known now
//   if (grab.status == GrabStatus::kFrame) {
//     auto slot = pool.loan(frame_bytes(grab.frame));  // or drop it: the next grab() moves on
//     FOVEA_TRY(source->retrieve({slot, grab.frame.width, grab.frame.height, step}));
//   }
//
// URIs. Keys after `?` override SourceOptions; an unknown key is an error. %XX escapes work in
// paths.
//
//   file:///abs/video.avi  file://relative.avi  (loop, start in s, rate, threads, max_pixels)
//   images:///dir  images:///dir/*.jpg          (loop, start, rate, fps, max_pixels); natural order
//   bag:///run.mcap                             (topic, loop, start, rate, max_pixels)
//   synthetic://       (loop, start, rate, width, height, fps, objects, seed, frames)
//   v4l2:///dev/video0 (rate, width, height, fps, format = bgr24 | yuyv | mjpg)
//   rtsp://user:password@host/path  rtsps://...  the query belongs to the camera: it is passed on
//
// `rate` is a number in Hz, `native` or `max`. Native is the pace of a file's own time stamps where
// it has some (videos, recordings), else its nominal rate.
//
// Thread safety: one thread at a time. A stop request on the token ends every wait, from any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "msgs/image.hpp"
#include "nodes/base/result.hpp"
#include "nodes/camera/pacer.hpp"
#include "nodes/imaging/image_target.hpp"
#include "nodes/imaging/size_limit.hpp"

namespace fovea::frames {

inline constexpr double kNativeRate = 0;
inline constexpr double kAsFastAsPossible = std::numeric_limits<double>::infinity();

struct SourceOptions {
  // Frames per second: kNativeRate (the source's own), kAsFastAsPossible, or Hz. A live source
  // cannot be sped up; a lower rate drops its surplus frames.
  double rate = kNativeRate;
  // When frames of a file are due, as a part of their period on the machine's monotonic clock:
  // sources of one rate then keep their distance. nullopt: from the first frame on.
  std::optional<double> phase = std::nullopt;
  bool loop = false;        // start over at the end; live sources have none
  double start_offset = 0;  // seconds into the source, first pass only
  // Requests to the source; 0 = its own choice. A v4l2 driver may pick its nearest mode: read
  // info().
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  double fps = 0;
  std::uint64_t seed = 1;  // synthetic scenes
  // A frame of more pixels is bad, and a source that begins with one is not opened.
  std::uint64_t max_pixels = imaging::kDefaultMaxPixels;
  Nanoseconds open_timeout = std::chrono::seconds(10);
  Clock* clock = nullptr;  // nullptr: machine_clock(); must outlive the source
};

// What open() found out.
struct SourceInfo {
  std::uint32_t width =
      0;  // of the first frame; a later frame may differ and says so in its FrameInfo
  std::uint32_t height = 0;
  msgs::Encoding encoding = msgs::Encoding::kBgr8;
  double fps = 0;        // nominal; 0 = unknown
  bool is_live = false;  // frames come when they come, and there is no end
  bool loops = false;    // never reports kEndOfStream
  std::optional<std::uint64_t> frame_count = std::nullopt;  // of one pass, where known
  std::optional<double> duration = std::nullopt;            // seconds of one pass, where known
  std::string warning{};  // what is wrong with the source as a whole; frames come all the same
};

// bgr8 pixels that the caller owns.
using imaging::ImageTarget;

struct FrameInfo {
  std::uint64_t index = 0;  // position in the source, from 0; starts over with each loop
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  // ns; the driver's own stamp where it gives one, the deadline of a file that is played at a rate
  // or by its own stamps, else at grab.
  std::int64_t stamp_monotonic = 0;
  std::int64_t stamp_realtime = 0;
};

// Bytes of a tightly packed bgr8 frame.
constexpr std::size_t frame_bytes(const FrameInfo& frame) {
  return std::size_t{3} * frame.width * frame.height;
}

enum class GrabStatus {
  kFrame,     // retrieve() may be called
  kBadFrame,  // this frame cannot be read (`detail` says why); it is counted, the next one may be
              // fine
  kTimeout,   // nothing yet
  kEndOfStream,  // the regular end; every later grab() says so again
  kStopped,      // the stop token was triggered
};
std::string_view to_string(GrabStatus status);

struct Grab {
  GrabStatus status = GrabStatus::kTimeout;
  FrameInfo frame{};     // kFrame; for kBadFrame only the index
  std::string detail{};  // kBadFrame; empty: the same as before
  // Of a file's frame, where the file has stamps: when it is due, counted from the source's first
  // frame. Never falls. Counts at the native rate only.
  std::optional<Nanoseconds> media_time{};
};

struct SourceCounters {
  std::uint64_t frames = 0;        // grabbed
  std::uint64_t bad_frames = 0;    // kBadFrame, or retrieve() failed
  std::uint64_t rate_skipped = 0;  // live frames dropped because `rate` is lower than the source's
  // Frames that a file never gave because it came more than a second late and began to count anew.
  std::uint64_t deadlines_skipped = 0;
  // Pixel bytes moved on top of the one write into the destination, because a decoder could not
  // write there.
  std::uint64_t bytes_copied = 0;
};

class FrameSource {
 public:
  virtual ~FrameSource() = default;
  FrameSource(const FrameSource&) = delete;
  FrameSource& operator=(const FrameSource&) = delete;

  // Whether the files of a local source are there and can be read; opens nothing and decodes
  // nothing. Errors: open()'s.
  virtual Result<> check_files() const { return {}; }

  // Opens, or closes and opens again from the start. Errors: kNotFound, kUnavailable (may work
  // later), kCorrupt, kUnsupported, kInvalidArgument.
  Result<> open(const std::stop_token& stop = {});
  void close();

  // Advances to the next frame and waits until it is due, at most `timeout`. Whatever an earlier
  // grab() found is given up. An error means that the source is lost and needs open().
  Result<Grab> grab(Nanoseconds timeout, const std::stop_token& stop = {});

  // Writes the grabbed frame's pixels. An error concerns this frame only (counted as bad); the
  // source goes on with the next grab(). REQUIRES: the last grab() returned kFrame and
  // `destination` has its size.
  Result<> retrieve(const ImageTarget& destination);

  // The URI, without credentials: safe to log.
  const std::string& name() const { return name_; }
  const SourceInfo& info() const { return info_; }  // REQUIRES: open() succeeded
  const SourceCounters& counters() const { return counters_; }
  // The part of the source that the newest grab() read, where parts go bad one by one: the path of
  // a folder's file, the damaged chunk of a recording. Empty = the source as a whole.
  virtual std::string_view item() const { return {}; }
  // What people should hear about the source, each thing once; empty if there is nothing (new).
  std::string take_warning();

 protected:
  FrameSource(std::string name, const SourceOptions& options);

  virtual Result<SourceInfo> do_open(const std::stop_token& stop) = 0;
  virtual void do_close() = 0;
  // The next frame, unpaced; leaves zero stamps to be filled in by the caller.
  virtual Result<Grab> advance(Nanoseconds timeout, const std::stop_token& stop) = 0;
  // Writes the current frame; returns the bytes it had to copy on the way.
  virtual Result<std::size_t> convert(const ImageTarget& destination) = 0;

  const SourceOptions& options() const { return options_; }
  Clock& clock() const { return *clock_; }
  tl::unexpected<Error> fail_here(ErrorCode code, std::string_view what) const;  // `name: what`
  // For take_warning(). The same text again, also after another open(), is not said again.
  void warn(std::string what);

 private:
  // advance(), with frames above the limit of pixels made bad ones.
  Result<Grab> advance_within_limits(Nanoseconds timeout, const std::stop_token& stop);
  Result<Grab> grab_paced(Nanoseconds timeout, const std::stop_token& stop);
  Result<Grab> grab_live(Nanoseconds timeout, const std::stop_token& stop);
  Grab deliver(Grab grab);

  std::string name_;
  SourceOptions options_;
  Clock* clock_;
  Pacer pacer_;
  std::uint64_t skipped_before_open_ = 0;  // by earlier pacers
  SourceInfo info_;
  SourceCounters counters_;
  bool opened_ = false;
  std::vector<std::string> warnings_;  // all that were ever said
  std::size_t warnings_taken_ = 0;
  std::optional<Grab> pending_;       // advanced to, but not due yet
  std::optional<FrameInfo> current_;  // what retrieve() would write
};

// Parses `uri` only; nothing is opened. Errors name the URI (without credentials) and what would be
// valid.
Result<std::unique_ptr<FrameSource>> make_frame_source(std::string_view uri,
                                                       const SourceOptions& options);

}  // namespace fovea::frames
