// What all sources share (pacing, stamps, counters, checks) and the factory that turns a URI into
// one.
#include "nodes/camera/frame_source.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/check.hpp"
#include "nodes/camera/bag_source.hpp"
#include "nodes/camera/image_source.hpp"
#include "nodes/camera/source_uri.hpp"
#include "nodes/camera/synthetic_source.hpp"
#include "nodes/camera/v4l2_source.hpp"
#include "nodes/camera/video_source.hpp"

namespace fovea::frames {

namespace {

constexpr std::uint32_t kMaxSide = 16384;
constexpr double kMaxFps = 1000;

std::string_view size_range() { return "16..16384 (pixels)"; }

double pacing_rate(const SourceOptions& options, const SourceInfo& info) {
  if (options.rate != kNativeRate) return options.rate;
  return info.is_live ? 0 : info.fps;
}

}  // namespace

std::string_view to_string(GrabStatus status) {
  switch (status) {
    case GrabStatus::kFrame:
      return "frame";
    case GrabStatus::kBadFrame:
      return "bad_frame";
    case GrabStatus::kTimeout:
      return "timeout";
    case GrabStatus::kEndOfStream:
      return "end_of_stream";
    case GrabStatus::kStopped:
      return "stopped";
  }
  return "invalid";
}

FrameSource::FrameSource(std::string name, const SourceOptions& options)
    : name_(std::move(name)),
      options_(options),
      clock_(options.clock != nullptr ? options.clock : &machine_clock()),
      pacer_(0, *clock_) {}

tl::unexpected<Error> FrameSource::fail_here(ErrorCode code, std::string_view what) const {
  return fail(code, fmt::format("{}: {}", name_, what));
}

void FrameSource::warn(std::string what) {
  if (std::find(warnings_.begin(), warnings_.end(), what) != warnings_.end()) return;
  warnings_.push_back(std::move(what));
}

std::string FrameSource::take_warning() {
  if (warnings_taken_ == warnings_.size()) return {};
  return fmt::format("{}: {}", name_, warnings_[warnings_taken_++]);
}

Result<Grab> FrameSource::advance_within_limits(Nanoseconds timeout, const std::stop_token& stop) {
  FOVEA_ASSIGN(Grab grab, advance(timeout, stop));
  if (grab.status != GrabStatus::kFrame) return grab;
  if (auto fits = imaging::check_pixels(grab.frame.width, grab.frame.height, options_.max_pixels);
      !fits) {
    grab.status = GrabStatus::kBadFrame;
    grab.detail = std::move(fits).error().message;
  }
  return grab;
}

Result<> FrameSource::open(const std::stop_token& stop) {
  close();
  FOVEA_ASSIGN(info_, do_open(stop));
  if (auto fits = imaging::check_pixels(info_.width, info_.height, options_.max_pixels); !fits) {
    do_close();
    return fail_here(fits.error().code, fits.error().message);
  }
  skipped_before_open_ += pacer_.skipped();
  pacer_ = Pacer(pacing_rate(options_, info_), *clock_, options_.phase);
  opened_ = true;
  return {};
}

void FrameSource::close() {
  opened_ = false;
  pending_.reset();
  current_.reset();
  do_close();
}

Result<Grab> FrameSource::grab(Nanoseconds timeout, const std::stop_token& stop) {
  if (!opened_) return fail_here(ErrorCode::kUnavailable, "is not open");
  current_.reset();
  if (stop.stop_requested()) return Grab{.status = GrabStatus::kStopped};
  auto grabbed = info_.is_live ? grab_live(timeout, stop) : grab_paced(timeout, stop);
  if (!grabbed) opened_ = false;
  return grabbed;
}

// Decodes first and waits second, so that decoding time does not delay the frame.
Result<Grab> FrameSource::grab_paced(Nanoseconds timeout, const std::stop_token& stop) {
  if (!pending_) {
    FOVEA_ASSIGN(Grab next, advance_within_limits(timeout, stop));
    if (next.status != GrabStatus::kFrame && next.status != GrabStatus::kBadFrame) return next;
    pending_ = std::move(next);
  }
  const auto at = options_.rate == kNativeRate ? pending_->media_time : std::nullopt;
  switch (at ? pacer_.wait_for(*at, timeout, stop) : pacer_.wait(timeout, stop)) {
    case WaitResult::kTimeout:
      return Grab{.status = GrabStatus::kTimeout};
    case WaitResult::kStopped:
      return Grab{.status = GrabStatus::kStopped};
    case WaitResult::kDue:
      break;
  }
  Grab grab = *std::exchange(pending_, std::nullopt);
  if (const auto due = pacer_.due(); due && grab.status == GrabStatus::kFrame) {
    const Nanoseconds late = clock_->monotonic() - *due;
    grab.frame.stamp_monotonic = due->count();
    grab.frame.stamp_realtime = (clock_->realtime() - late).count();
  }
  counters_.deadlines_skipped = skipped_before_open_ + pacer_.skipped();
  return deliver(std::move(grab));
}

Result<Grab> FrameSource::grab_live(Nanoseconds timeout, const std::stop_token& stop) {
  const Nanoseconds deadline = deadline_after(clock_->monotonic(), timeout);
  const Nanoseconds tolerance(info_.fps > 0 ? std::llround(0.5e9 / info_.fps) : 0);
  while (true) {
    FOVEA_ASSIGN(Grab next, advance_within_limits(deadline - clock_->monotonic(), stop));
    if (next.status != GrabStatus::kFrame || pacer_.admit(tolerance)) {
      return deliver(std::move(next));
    }
    ++counters_.rate_skipped;
  }
}

Grab FrameSource::deliver(Grab grab) {
  if (grab.status == GrabStatus::kBadFrame) ++counters_.bad_frames;
  if (grab.status == GrabStatus::kFrame) {
    ++counters_.frames;
    if (grab.frame.stamp_monotonic == 0) {
      grab.frame.stamp_monotonic = clock_->monotonic().count();
      grab.frame.stamp_realtime = clock_->realtime().count();
    }
    current_ = grab.frame;
  }
  return grab;
}

Result<> FrameSource::retrieve(const ImageTarget& destination) {
  FOVEA_CHECK(current_ && "retrieve() without a grabbed frame");
  FOVEA_CHECK(destination.width == current_->width && destination.height == current_->height);
  FOVEA_CHECK(destination.step >= std::size_t{3} * destination.width);
  auto copied = convert(destination);
  if (!copied) {
    ++counters_.bad_frames;
    return fail(std::move(copied).error());
  }
  counters_.bytes_copied += *copied;
  return {};
}

Result<std::unique_ptr<FrameSource>> make_frame_source(std::string_view text,
                                                       const SourceOptions& defaults) {
  FOVEA_ASSIGN(const SourceUri uri, parse_source_uri(text));
  const auto invalid = [&](std::string_view what) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("source '{}': {}", uri.text, what));
  };
  SourceOptions options = defaults;
  if (std::isnan(options.rate) || options.rate < 0) {
    return invalid(fmt::format("rate is {}; it must be 0 (native), a frequency in Hz or infinity",
                               options.rate));
  }
  if (!(options.start_offset >= 0 && options.start_offset <= 1e7)) {
    return invalid(fmt::format("start_offset is {}; it must be 0..1e7 (s)", options.start_offset));
  }
  if (!(options.fps >= 0 && options.fps <= kMaxFps)) {
    return invalid(fmt::format("fps is {}; it must be 0..1000 (0 = the source's)", options.fps));
  }

  const QueryKey rate = rate_key(options.rate);
  const QueryKey loop = bool_key("loop", options.loop);
  const QueryKey start = number_key("start", "0..1e7 (s)", options.start_offset, 0, 1e7);
  const QueryKey width = unsigned_key("width", size_range(), options.width, 16, kMaxSide);
  const QueryKey height = unsigned_key("height", size_range(), options.height, 16, kMaxSide);
  const QueryKey max_pixels =
      unsigned_key("max_pixels", "1..1073741824", options.max_pixels, 1, std::uint64_t{1} << 30);
  const QueryKey fps = number_key("fps", "0.001..1000 (Hz)", options.fps, 0.001, kMaxFps);

  if (uri.scheme == "file") {
    if (uri.path.empty()) return invalid("names no file; write file:///path/video.avi");
    imaging::VideoOptions video;
    FOVEA_TRY(apply_query(
        uri,
        {loop, start, rate, unsigned_key("threads", "1..64", video.threads, 1, 64), max_pixels}));
    return std::make_unique<VideoSource>(uri.text, uri.path, video, options);
  }
  if (uri.scheme == "images") {
    if (uri.path.empty()) return invalid("names no folder; write images:///folder");
    FOVEA_TRY(apply_query(uri, {loop, start, rate, fps, max_pixels}));
    return std::make_unique<ImageSource>(uri.text, uri.path, options);
  }
  if (uri.scheme == "bag") {
    if (uri.path.empty()) return invalid("names no file; write bag:///path/run.mcap");
    std::string topic;
    const QueryKey topic_key{"topic", "a topic of the recording", [&topic](std::string_view value) {
                               topic = value;
                               return !value.empty();
                             }};
    FOVEA_TRY(apply_query(uri, {loop, start, rate, topic_key, max_pixels}));
    return std::make_unique<BagSource>(uri.text, uri.path, topic, options);
  }
  if (uri.scheme == "synthetic") {
    if (!uri.path.empty()) return invalid("takes no path; write synthetic://?width=1280");
    SyntheticOptions scene;
    FOVEA_TRY(apply_query(
        uri,
        {loop, start, rate, width, height, fps,
         unsigned_key("objects", "0..64", scene.objects, 0, 64),
         unsigned_key("seed", "an unsigned number", options.seed, 0, UINT64_MAX),
         unsigned_key("frames", "a number of frames (0 = endless)", scene.frames, 0, 1u << 30)}));
    const bool too_large = options.width > kMaxSide || options.height > kMaxSide;
    const bool too_small =
        (options.width > 0 && options.width < 16) || (options.height > 0 && options.height < 16);
    if (too_large || too_small) {
      return invalid(fmt::format("size is {}x{}; each side must be {}", options.width,
                                 options.height, size_range()));
    }
    return std::make_unique<SyntheticSource>(uri.text, scene, options);
  }
  if (uri.scheme == "v4l2") {
    if (uri.path.empty()) return invalid("names no device; write v4l2:///dev/video0");
    V4l2Options device;
    const QueryKey format{"format", "bgr24, yuyv or mjpg", [&device](std::string_view value) {
                            const auto found = pixel_format_from_name(value);
                            device.format = found;
                            return found.has_value();
                          }};
    FOVEA_TRY(apply_query(uri, {rate, width, height, fps, format, max_pixels}));
    return std::make_unique<V4l2Source>(uri.text, uri.path, device, options);
  }
  if (uri.scheme == "rtsp" || uri.scheme == "rtsps") {
    if (uri.path.empty()) return invalid("names no host; write rtsp://host/path");
    imaging::VideoOptions video;
    video.kind = imaging::VideoKind::kStream;
    return std::make_unique<VideoSource>(uri.text, std::string(text), video, options);
  }
  return invalid(fmt::format("unknown scheme '{}'; it must be {}", uri.scheme, kSchemes));
}

}  // namespace fovea::frames
