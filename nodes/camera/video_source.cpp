#include "nodes/camera/video_source.hpp"

#include <cerrno>
#include <cmath>
#include <filesystem>
#include <system_error>

#include <fmt/core.h>
#include <unistd.h>

namespace fovea::frames {

namespace fs = std::filesystem;
using imaging::VideoReader;
using Outcome = VideoReader::Outcome;

namespace {

constexpr double kFallbackFps = 25;  // for a file that does not say

}  // namespace

VideoSource::VideoSource(std::string name, std::string location, const imaging::VideoOptions& video,
                         const SourceOptions& options)
    : FrameSource(std::move(name), options), location_(std::move(location)), video_(video) {
  video_.open_timeout = options.open_timeout;
  video_.max_pixels = options.max_pixels;
}

void VideoSource::do_close() {
  reader_.reset();
  next_index_ = 0;
  ended_ = false;
}

Result<> VideoSource::check_files() const {
  if (!is_file()) return {};
  std::error_code error;
  const fs::file_status status = fs::status(location_, error);
  switch (status.type()) {
    case fs::file_type::not_found:
      return fail_here(ErrorCode::kNotFound, "no such file");
    case fs::file_type::directory:
      return fail_here(ErrorCode::kInvalidArgument, "is a folder; images:// reads folders");
    case fs::file_type::regular:
      break;
    case fs::file_type::none:
    case fs::file_type::unknown:
      return fail_here(ErrorCode::kUnavailable, error.message());
    default:  // reading would wait for whoever writes, or never end
      return fail_here(ErrorCode::kInvalidArgument,
                       "is a FIFO, socket or device; it must be a file");
  }
  if (::access(location_.c_str(), R_OK) != 0) {
    return fail_here(ErrorCode::kUnavailable, std::generic_category().message(errno));
  }
  if (fs::file_size(location_, error) == 0) return fail_here(ErrorCode::kCorrupt, "is empty");
  return {};
}

Result<std::unique_ptr<VideoReader>> VideoSource::open_reader(const std::stop_token& stop) const {
  auto reader = VideoReader::open(location_, video_, stop);
  if (!reader) return fail_here(reader.error().code, reader.error().message);
  return reader;
}

Result<SourceInfo> VideoSource::do_open(const std::stop_token& stop) {
  FOVEA_TRY(check_files());
  FOVEA_ASSIGN(auto reader, open_reader(stop));
  const imaging::VideoInfo& video = reader->info();
  SourceInfo info;
  info.width = video.width;
  info.height = video.height;
  info.fps = video.fps;
  info.is_live = !is_file();
  if (!video.remark.empty()) warn(video.remark);
  if (is_file()) {
    info.loops = options().loop;
    if (info.fps <= 0) info.fps = kFallbackFps;
    info.frame_count = video.frame_count;
    info.duration = video.duration;
    const double start = options().start_offset;
    if (info.duration && start >= *info.duration) {
      return fail_here(
          ErrorCode::kInvalidArgument,
          fmt::format("start is {} s; it must be below the duration, {} s", start, *info.duration));
    }
    if (start > 0) {
      const auto place = reader->seek(start, stop);
      if (!place) return fail_here(place.error().code, place.error().message);
      next_index_ = *place;
    }
    timeline_ = MediaTimeline(Nanoseconds(std::llround(1e9 / info.fps)));
  }
  reader_ = std::move(reader);
  return info;
}

Grab VideoSource::frame(GrabStatus status) {
  Grab grab;
  grab.status = status;
  grab.frame.index = next_index_++;
  if (status == GrabStatus::kBadFrame) grab.detail = reader_->reason();
  if (status == GrabStatus::kFrame) {
    grab.frame.width = reader_->width();
    grab.frame.height = reader_->height();
  }
  return grab;
}

Result<Grab> VideoSource::advance(Nanoseconds timeout, const std::stop_token& stop) {
  if (ended_) return Grab{.status = GrabStatus::kEndOfStream};
  bool has_looped = false;
  while (true) {
    const auto deadline =
        is_file() ? VideoReader::Deadline::max()
                  : VideoReader::Deadline(deadline_after(
                        VideoReader::Deadline::clock::now().time_since_epoch(), timeout));
    const Outcome outcome = reader_->next(deadline, stop);
    switch (outcome) {
      case Outcome::kFrame:
      case Outcome::kDamaged: {
        Grab grab = frame(outcome == Outcome::kFrame ? GrabStatus::kFrame : GrabStatus::kBadFrame);
        if (is_file()) {
          grab.media_time = timeline_.next(reader_->time());
          if (!timeline_.trouble().empty()) warn(timeline_.trouble());
        }
        return grab;
      }
      case Outcome::kUndecodable: {
        Grab grab = frame(GrabStatus::kBadFrame);
        if (is_file()) grab.media_time = timeline_.last();
        return grab;
      }
      case Outcome::kInterrupted:
        return Grab{.status = stop.stop_requested() ? GrabStatus::kStopped : GrabStatus::kTimeout};
      case Outcome::kEnd:
      case Outcome::kLost:
        break;
    }
    if (!is_file()) {
      return fail_here(ErrorCode::kUnavailable,
                       outcome == Outcome::kEnd ? "the peer closed the connection"
                                                : "the connection is lost: " + reader_->reason());
    }
    const std::string missing = reader_->missing_end(next_index_);
    if (outcome == Outcome::kLost) {
      return fail_here(ErrorCode::kCorrupt, fmt::format("is damaged: {}{}{}", reader_->reason(),
                                                        missing.empty() ? "" : "; ", missing));
    }
    if (!missing.empty()) return fail_here(ErrorCode::kCorrupt, "is cut off: " + missing);
    ended_ = true;
    if (!options().loop) return Grab{.status = GrabStatus::kEndOfStream};
    if (has_looped) return fail_here(ErrorCode::kCorrupt, "has no frames");
    // Opening anew works for every container, also for those that cannot seek.
    FOVEA_ASSIGN(reader_, open_reader(stop));
    timeline_.start_pass();
    has_looped = true;
    ended_ = false;
    next_index_ = 0;
  }
}

Result<std::size_t> VideoSource::convert(const ImageTarget& destination) {
  auto copied = reader_->convert(destination);
  if (!copied) return fail_here(copied.error().code, copied.error().message);
  return copied;
}

}  // namespace fovea::frames
