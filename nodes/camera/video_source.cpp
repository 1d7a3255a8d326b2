// Demuxing, decoding and colour conversion of video_source.hpp.
#include "nodes/camera/video_source.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <mutex>

#include <fmt/format.h>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

namespace fovea::frames {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

namespace {

constexpr int kMaxBadFramesInARow = 100;
constexpr auto kCloseTimeout = std::chrono::milliseconds(500);
constexpr double kFallbackFps = 25;  // for a file that does not say

// FFmpeg prints its reasons instead of returning them. Kept per thread, because decoding happens on
// the caller's thread; a line that could hold a URL is dropped, since URLs hold passwords.
thread_local std::array<char, 160> last_ffmpeg_line{};

void keep_ffmpeg_line(void*, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_ERROR) return;
  std::array<char, 160> line{};
  std::vsnprintf(line.data(), line.size(), format, arguments);
  std::string_view text = line.data();
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  line[text.size()] = '\0';
  if (text.empty() || text.find('@') != text.npos || text.find("://") != text.npos) return;
  last_ffmpeg_line = line;
}

void silence_ffmpeg() {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_callback(keep_ffmpeg_line); });
  last_ffmpeg_line = {};
}

std::string describe_ffmpeg_error(int error) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(error, text.data(), text.size());
  std::string description = text.data();
  if (last_ffmpeg_line[0] != '\0') description += fmt::format(" ({})", last_ffmpeg_line.data());
  return description;
}

// Whether libswscale may write rows of this memory directly. Its vector code works on blocks of 16
// pixels: at other widths it leaves the last columns unwritten or writes past the row.
bool fits_swscale(const ImageView& view) {
  return view.width % 16 == 0 && view.height % 2 == 0 && view.step % 16 == 0 &&
         reinterpret_cast<std::uintptr_t>(view.data) % 16 == 0;
}

struct AvFree {
  void operator()(std::uint8_t* memory) const { av_free(memory); }
};

}  // namespace

struct VideoSource::Decoder {
  enum class Outcome { kFrame, kBadFrame, kEnd, kInterrupted, kLost };

  AVFormatContext* format = nullptr;
  AVCodecContext* codec = nullptr;
  AVPacket* packet = av_packet_alloc();
  AVFrame* frame = av_frame_alloc();
  SwsContext* scaler = nullptr;
  int scaler_width = 0, scaler_height = 0, scaler_format = -1, scaler_colorspace = -1;
  std::unique_ptr<std::uint8_t, AvFree> scratch;  // for destinations that swscale cannot write to
  std::size_t scratch_bytes = 0;
  int stream_index = -1;
  bool frame_is_ahead = false;  // seek() decoded the next frame already
  int bad_in_a_row = 0;
  int error = 0;  // of the last outcome but kFrame and kEnd
  // While FFmpeg waits it asks these two whether to go on.
  std::stop_token stop;
  SteadyClock::time_point deadline = SteadyClock::time_point::max();

  Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() {
    deadline = SteadyClock::now() + kCloseTimeout;  // RTSP says goodbye to a peer that may be gone
    sws_freeContext(scaler);
    avcodec_free_context(&codec);
    avformat_close_input(&format);
    av_frame_free(&frame);
    av_packet_free(&packet);
  }

  bool interrupted() const { return stop.stop_requested() || SteadyClock::now() >= deadline; }
  static int is_interrupted(void* self) {
    return static_cast<const Decoder*>(self)->interrupted() ? 1 : 0;
  }

  AVStream& stream() const { return *format->streams[stream_index]; }

  double fps() const {
    const AVRational rate = av_guess_frame_rate(format, format->streams[stream_index], nullptr);
    return rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
  }

  // Seconds since the stream's start, or NaN.
  double frame_time() const {
    if (frame->best_effort_timestamp == AV_NOPTS_VALUE) return std::nan("");
    const std::int64_t start = stream().start_time == AV_NOPTS_VALUE ? 0 : stream().start_time;
    return static_cast<double>(frame->best_effort_timestamp - start) * av_q2d(stream().time_base);
  }

  Outcome next() {
    if (frame_is_ahead) {
      frame_is_ahead = false;
      return Outcome::kFrame;
    }
    while (true) {
      int result = avcodec_receive_frame(codec, frame);
      if (result == 0) {
        bad_in_a_row = 0;
        return frame->width > 0 && frame->height > 0 ? Outcome::kFrame : bad(AVERROR_INVALIDDATA);
      }
      if (result == AVERROR_EOF) return Outcome::kEnd;
      if (result != AVERROR(EAGAIN)) return bad(result);

      result = av_read_frame(format, packet);
      if (interrupted()) {
        av_packet_unref(packet);
        return Outcome::kInterrupted;
      }
      if (result == AVERROR_EOF) {
        avcodec_send_packet(codec, nullptr);  // brings out the frames still inside
        continue;
      }
      if (result == AVERROR(EAGAIN)) continue;
      if (result < 0) {
        error = result;
        return Outcome::kLost;
      }
      const bool is_ours = packet->stream_index == stream_index;
      result = is_ours ? avcodec_send_packet(codec, packet) : 0;
      av_packet_unref(packet);
      if (result < 0) return bad(result);
    }
  }

  Outcome bad(int result) {
    error = result;
    return ++bad_in_a_row > kMaxBadFramesInARow ? Outcome::kLost : Outcome::kBadFrame;
  }

  // Points `scaler` at the current frame's geometry and colours.
  bool prepare_scaler() {
    if (scaler != nullptr && scaler_width == frame->width && scaler_height == frame->height &&
        scaler_format == frame->format && scaler_colorspace == frame->colorspace) {
      return true;
    }
    sws_freeContext(scaler);
    scaler = sws_getContext(frame->width, frame->height, static_cast<AVPixelFormat>(frame->format),
                            frame->width, frame->height, AV_PIX_FMT_BGR24, SWS_BILINEAR, nullptr,
                            nullptr, nullptr);
    if (scaler == nullptr) return false;
    scaler_width = frame->width;
    scaler_height = frame->height;
    scaler_format = frame->format;
    scaler_colorspace = frame->colorspace;
    int* inverse = nullptr;
    int* table = nullptr;
    int source_range = 0, range = 0, brightness = 0, contrast = 0, saturation = 0;
    if (sws_getColorspaceDetails(scaler, &inverse, &source_range, &table, &range, &brightness,
                                 &contrast, &saturation) >= 0) {
      if (frame->color_range == AVCOL_RANGE_JPEG) source_range = 1;
      const int* coefficients = frame->colorspace == AVCOL_SPC_UNSPECIFIED
                                    ? inverse
                                    : sws_getCoefficients(frame->colorspace);
      sws_setColorspaceDetails(scaler, coefficients, source_range, table, range, brightness,
                               contrast, saturation);
    }
    return true;
  }

  bool scale(std::uint8_t* data, std::size_t step) {
    std::array<std::uint8_t*, 4> planes{data, nullptr, nullptr, nullptr};
    std::array<int, 4> steps{static_cast<int>(step), 0, 0, 0};
    return sws_scale(scaler, frame->data, frame->linesize, 0, frame->height, planes.data(),
                     steps.data()) == frame->height;
  }
};

VideoSource::VideoSource(std::string name, std::string location, VideoKind kind,
                         const VideoOptions& video, const SourceOptions& options)
    : FrameSource(std::move(name), options),
      location_(std::move(location)),
      kind_(kind),
      video_options_(video) {}

VideoSource::~VideoSource() = default;

void VideoSource::do_close() {
  decoder_.reset();
  next_index_ = 0;
  ended_ = false;
}

tl::unexpected<Error> VideoSource::fail_ffmpeg(ErrorCode code, std::string_view what,
                                               int error) const {
  return fail_here(code, fmt::format("{}: {}", what, describe_ffmpeg_error(error)));
}

Result<> VideoSource::check_file() const {
  std::error_code error;
  const fs::file_status status = fs::status(location_, error);
  if (status.type() == fs::file_type::not_found) {
    return fail_here(ErrorCode::kNotFound, "no such file");
  }
  if (status.type() == fs::file_type::directory) {
    return fail_here(ErrorCode::kInvalidArgument, "is a folder; images:// reads folders");
  }
  if (error) return fail_here(ErrorCode::kUnavailable, error.message());
  if (status.type() == fs::file_type::regular && fs::file_size(location_, error) == 0) {
    return fail_here(ErrorCode::kCorrupt, "is empty");
  }
  return {};
}

Result<std::unique_ptr<VideoSource::Decoder>> VideoSource::open_decoder(
    const std::stop_token& stop) const {
  const bool is_file = kind_ == VideoKind::kFile;
  auto decoder = std::make_unique<Decoder>();
  decoder->stop = stop;
  decoder->deadline = SteadyClock::time_point(
      deadline_after(SteadyClock::now().time_since_epoch(), options().open_timeout));
  const ErrorCode code = is_file ? ErrorCode::kCorrupt : ErrorCode::kUnavailable;
  const auto failed = [&](std::string_view what, int error) -> tl::unexpected<Error> {
    if (stop.stop_requested()) return fail_here(ErrorCode::kUnavailable, "opening was stopped");
    if (decoder->interrupted()) {
      const std::chrono::duration<double> limit = options().open_timeout;
      return fail_here(ErrorCode::kUnavailable,
                       fmt::format("{}: no answer within {} s", what, limit.count()));
    }
    return fail_ffmpeg(code, what, error);
  };

  decoder->format = avformat_alloc_context();
  if (decoder->format == nullptr || decoder->packet == nullptr || decoder->frame == nullptr) {
    return fail_here(ErrorCode::kExhausted, "out of memory");
  }
  decoder->format->interrupt_callback = {&Decoder::is_interrupted, decoder.get()};
  AVDictionary* settings = nullptr;
  if (is_file) {
    // A playlist in disguise must not make the node open other files or hosts.
    av_dict_set(&settings, "protocol_whitelist", "file", 0);
  } else {
    av_dict_set(&settings, "protocol_whitelist", "rtsp,rtsps,rtp,srtp,tcp,tls,udp,crypto", 0);
    av_dict_set(&settings, "rtsp_transport", "tcp", 0);
    av_dict_set(&settings, "allowed_media_types", "video", 0);
    av_dict_set(&settings, "fflags", "nobuffer", 0);
  }
  const std::string url = is_file ? "file:" + location_ : location_;
  int result = avformat_open_input(&decoder->format, url.c_str(), nullptr, &settings);
  av_dict_free(&settings);
  if (result < 0) return failed("cannot be opened", result);
  result = avformat_find_stream_info(decoder->format, nullptr);
  if (result < 0) return failed("has no readable stream", result);

  const AVCodec* codec = nullptr;
  result = av_find_best_stream(decoder->format, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
  if (result == AVERROR_DECODER_NOT_FOUND) {
    return fail_here(ErrorCode::kUnsupported, "this FFmpeg has no decoder for its video");
  }
  if (result < 0) return failed("has no video", result);
  decoder->stream_index = result;
  for (unsigned i = 0; i < decoder->format->nb_streams; ++i) {
    if (static_cast<int>(i) != result) decoder->format->streams[i]->discard = AVDISCARD_ALL;
  }
  decoder->codec = avcodec_alloc_context3(codec);
  if (decoder->codec == nullptr) return fail_here(ErrorCode::kExhausted, "out of memory");
  avcodec_parameters_to_context(decoder->codec, decoder->stream().codecpar);
  decoder->codec->pkt_timebase = decoder->stream().time_base;
  decoder->codec->thread_count = static_cast<int>(video_options_.threads);
  if (!is_file) decoder->codec->flags |= AV_CODEC_FLAG_LOW_DELAY;
  result = avcodec_open2(decoder->codec, codec, nullptr);
  if (result < 0) return failed("its decoder cannot be started", result);
  if (decoder->codec->width <= 0 || decoder->codec->height <= 0) {
    return fail_here(code, "does not tell the size of its frames");
  }
  return decoder;
}

Result<SourceInfo> VideoSource::do_open(const std::stop_token& stop) {
  silence_ffmpeg();
  const bool is_file = kind_ == VideoKind::kFile;
  if (is_file) FOVEA_TRY(check_file());
  FOVEA_ASSIGN(auto decoder, open_decoder(stop));
  SourceInfo info;
  info.width = static_cast<std::uint32_t>(decoder->codec->width);
  info.height = static_cast<std::uint32_t>(decoder->codec->height);
  info.fps = decoder->fps();
  info.is_live = !is_file;
  if (is_file) {
    info.loops = options().loop;
    if (info.fps <= 0) info.fps = kFallbackFps;
    const AVStream& stream = decoder->stream();
    if (stream.nb_frames > 0) info.frame_count = static_cast<std::uint64_t>(stream.nb_frames);
    if (stream.duration > 0) {
      info.duration = static_cast<double>(stream.duration) * av_q2d(stream.time_base);
    } else if (decoder->format->duration > 0) {
      info.duration = static_cast<double>(decoder->format->duration) / AV_TIME_BASE;
    }
    const double start = options().start_offset;
    if (info.duration && start >= *info.duration) {
      return fail_here(
          ErrorCode::kInvalidArgument,
          fmt::format("start is {} s; it must be below the duration, {} s", start, *info.duration));
    }
    if (start > 0) FOVEA_TRY(seek(*decoder, start, stop));
  }
  decoder_ = std::move(decoder);
  return info;
}

// Goes to the first frame that is due at `seconds` or later: to the key frame before it, then by
// decoding.
Result<> VideoSource::seek(Decoder& decoder, double seconds, const std::stop_token& stop) {
  decoder.deadline = SteadyClock::time_point::max();
  const double fps = decoder.fps() > 0 ? decoder.fps() : kFallbackFps;
  const std::int64_t base =
      decoder.format->start_time == AV_NOPTS_VALUE ? 0 : decoder.format->start_time;
  const std::int64_t target = base + std::llround(seconds * AV_TIME_BASE);
  // Where the container cannot seek, decoding from the start gets there as well.
  if (av_seek_frame(decoder.format, -1, target, AVSEEK_FLAG_BACKWARD) >= 0) {
    avcodec_flush_buffers(decoder.codec);
  }
  while (true) {
    switch (decoder.next()) {
      case Decoder::Outcome::kFrame: {
        const double time = decoder.frame_time();
        if (std::isnan(time))
          return fail_here(ErrorCode::kUnsupported, "start: has no time stamps");
        if (time < seconds - 0.5 / fps) break;
        decoder.frame_is_ahead = true;
        next_index_ = static_cast<std::uint64_t>(std::max(0ll, std::llround(time * fps)));
        return {};
      }
      case Decoder::Outcome::kBadFrame:
        break;
      case Decoder::Outcome::kInterrupted:
        return fail_here(ErrorCode::kUnavailable,
                         stop.stop_requested() ? "opening was stopped" : "seeking was interrupted");
      case Decoder::Outcome::kEnd:
        return fail_here(ErrorCode::kCorrupt,
                         fmt::format("ends before start, which is {} s", seconds));
      case Decoder::Outcome::kLost:
        return fail_ffmpeg(ErrorCode::kCorrupt, "is damaged before start", decoder.error);
    }
  }
}

// The last frame was read: the regular end, the next pass of a loop, or a file that lacks its tail.
Result<Grab> VideoSource::end_of_file() {
  if (info().frame_count) {
    // Containers may count a frame or two that decoders do not show.
    const std::uint64_t tolerance = 1 + *info().frame_count / 100;
    if (next_index_ + tolerance < *info().frame_count) {
      return fail_here(ErrorCode::kCorrupt, fmt::format("is cut off: {} of {} frames are there",
                                                        next_index_, *info().frame_count));
    }
  }
  ended_ = true;
  return Grab{.status = GrabStatus::kEndOfStream};
}

Result<Grab> VideoSource::advance(Nanoseconds timeout, const std::stop_token& stop) {
  if (ended_) return Grab{.status = GrabStatus::kEndOfStream};
  const bool is_file = kind_ == VideoKind::kFile;
  bool has_looped = false;
  while (true) {
    decoder_->stop = stop;
    decoder_->deadline = is_file ? SteadyClock::time_point::max()
                                 : SteadyClock::time_point(deadline_after(
                                       SteadyClock::now().time_since_epoch(), timeout));
    Grab grab;
    grab.frame.index = next_index_;
    switch (decoder_->next()) {
      case Decoder::Outcome::kFrame:
        ++next_index_;
        grab.status = GrabStatus::kFrame;
        grab.frame.width = static_cast<std::uint32_t>(decoder_->frame->width);
        grab.frame.height = static_cast<std::uint32_t>(decoder_->frame->height);
        return grab;
      case Decoder::Outcome::kBadFrame:
        ++next_index_;
        grab.status = GrabStatus::kBadFrame;
        grab.detail = describe_ffmpeg_error(decoder_->error);
        return grab;
      case Decoder::Outcome::kInterrupted:
        grab.status = stop.stop_requested() ? GrabStatus::kStopped : GrabStatus::kTimeout;
        return grab;
      case Decoder::Outcome::kLost:
        return fail_ffmpeg(is_file ? ErrorCode::kCorrupt : ErrorCode::kUnavailable,
                           is_file ? "is damaged" : "the connection is lost", decoder_->error);
      case Decoder::Outcome::kEnd:
        if (!is_file) return fail_here(ErrorCode::kUnavailable, "the peer closed the connection");
        FOVEA_ASSIGN(grab, end_of_file());
        if (!options().loop) return grab;
        if (has_looped) return fail_here(ErrorCode::kCorrupt, "has no frames");
        // Opening anew works for every container, also for those that cannot seek.
        FOVEA_ASSIGN(decoder_, open_decoder(stop));
        has_looped = true;
        ended_ = false;
        next_index_ = 0;
        break;
    }
  }
}

Result<std::size_t> VideoSource::convert(const ImageView& destination) {
  Decoder& decoder = *decoder_;
  if (!decoder.prepare_scaler()) {
    const char* format = av_get_pix_fmt_name(static_cast<AVPixelFormat>(decoder.frame->format));
    return fail_here(ErrorCode::kUnsupported, fmt::format("cannot convert pixel format {} to bgr8",
                                                          format != nullptr ? format : "?"));
  }
  if (fits_swscale(destination)) {
    auto* data = reinterpret_cast<std::uint8_t*>(destination.data);
    if (decoder.scale(data, destination.step)) return std::size_t{0};
    return fail_here(ErrorCode::kInternal, "colour conversion failed");
  }
  const std::size_t step = (std::size_t{destination.width} + 31) / 16 * 16 * 3;
  const std::size_t bytes = step * (destination.height + 1);
  if (decoder.scratch_bytes < bytes) {
    decoder.scratch.reset(static_cast<std::uint8_t*>(av_malloc(bytes)));
    decoder.scratch_bytes = decoder.scratch ? bytes : 0;
    if (!decoder.scratch) return fail_here(ErrorCode::kExhausted, "out of memory");
  }
  if (!decoder.scale(decoder.scratch.get(), step)) {
    return fail_here(ErrorCode::kInternal, "colour conversion failed");
  }
  const std::size_t row_bytes = std::size_t{3} * destination.width;
  for (std::uint32_t y = 0; y < destination.height; ++y) {
    std::copy_n(reinterpret_cast<const std::byte*>(decoder.scratch.get()) + y * step, row_bytes,
                destination.data + y * destination.step);
  }
  return row_bytes * destination.height;
}

}  // namespace fovea::frames
