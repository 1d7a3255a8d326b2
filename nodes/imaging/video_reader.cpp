// Demuxing and decoding of video_reader.hpp.
#include "nodes/imaging/video_reader.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <vector>

#include <fmt/core.h>

#include "nodes/base/text.hpp"
#include "nodes/imaging/orientation.hpp"
#include "nodes/imaging/video_scaler.hpp"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
}

namespace fovea::imaging {

using SteadyClock = std::chrono::steady_clock;

namespace {

constexpr int kMaxUndecodableInARow = 100;
constexpr auto kCloseTimeout = std::chrono::milliseconds(500);
constexpr double kFallbackFps = 25;  // for a file that does not say
constexpr std::size_t kMostFlaggedPackets = 64;

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
  if (last_ffmpeg_line[0] != '\0') {
    description += fmt::format(" ({})", one_line(last_ffmpeg_line.data()));
  }
  return description;
}

std::optional<Orientation> orientation_of(const std::uint8_t* matrix) {
  return orientation_from_matrix(
      std::span<const std::int32_t, 9>(reinterpret_cast<const std::int32_t*>(matrix), 9));
}

}  // namespace

struct VideoReader::State {
  AVFormatContext* format = nullptr;
  AVCodecContext* codec = nullptr;
  AVPacket* packet = av_packet_alloc();
  AVFrame* frame = av_frame_alloc();
  VideoScaler scaler;
  int stream_index = -1;
  std::optional<Orientation> orientation;  // by the container
  bool frame_is_ahead = false;             // seek() decoded the next frame already
  bool has_sought = false;
  int undecodable_in_a_row = 0;
  int error = 0;            // of the last outcome that is one
  const char* damage = "";  // of the last kDamaged
  double end_time = 0;      // s; where the packets read so far end
  std::uint64_t max_pixels = 0;
  // Time stamps of packets that the demuxer knows to be incomplete; their frames are damaged.
  struct Stamp {
    std::int64_t pts;
    std::int64_t dts;
  };
  std::vector<Stamp> flagged;
  // While FFmpeg waits it asks these two whether to go on.
  std::stop_token stop;
  SteadyClock::time_point deadline = SteadyClock::time_point::max();

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    deadline = SteadyClock::now() + kCloseTimeout;  // RTSP says goodbye to a peer that may be gone
    avcodec_free_context(&codec);
    avformat_close_input(&format);
    av_frame_free(&frame);
    av_packet_free(&packet);
  }

  bool interrupted() const { return stop.stop_requested() || SteadyClock::now() >= deadline; }
  static int is_interrupted(void* self) {
    return static_cast<const State*>(self)->interrupted() ? 1 : 0;
  }

  AVStream& stream() const { return *format->streams[stream_index]; }

  double fps() const {
    const AVRational rate = av_guess_frame_rate(format, format->streams[stream_index], nullptr);
    return rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
  }

  // Since the stream's start.
  std::optional<std::chrono::nanoseconds> frame_time() const {
    if (frame->best_effort_timestamp == AV_NOPTS_VALUE) return std::nullopt;
    const std::int64_t start = stream().start_time == AV_NOPTS_VALUE ? 0 : stream().start_time;
    // A stamp near the end of the number range is a wrong one; rescaling saturates.
    return std::chrono::nanoseconds(
        av_rescale_q(frame->best_effort_timestamp - start, stream().time_base, {1, 1'000'000'000}));
  }

  Orientation frame_orientation() const {
    if (orientation) return *orientation;
    const auto* side = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
    if (side == nullptr || side->size < 9 * sizeof(std::int32_t)) return Orientation::kUpright;
    return orientation_of(side->data).value_or(Orientation::kUpright);
  }

  // What of this packet matters when the file is over, or its frame comes out.
  void take_note_of_packet() {
    const AVRational base = format->streams[packet->stream_index]->time_base;
    const std::int64_t start = format->start_time == AV_NOPTS_VALUE ? 0 : format->start_time;
    const std::int64_t stamp = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
    if (stamp != AV_NOPTS_VALUE) {
      const double end = static_cast<double>(stamp + packet->duration) * av_q2d(base) -
                         static_cast<double>(start) / AV_TIME_BASE;
      end_time = std::max(end_time, end);
    }
    const bool is_ours = packet->stream_index == stream_index;
    if (is_ours && (packet->flags & AV_PKT_FLAG_CORRUPT) != 0) {
      if (flagged.size() == kMostFlaggedPackets) flagged.erase(flagged.begin());
      flagged.push_back({packet->pts, packet->dts});
    }
  }

  // Why the newest frame is not what the camera saw; nullptr if it is.
  const char* find_damage() {
    const auto is_this = [this](const Stamp& stamp) {
      return stamp.pts != AV_NOPTS_VALUE
                 ? stamp.pts == frame->pts
                 : stamp.dts != AV_NOPTS_VALUE && stamp.dts == frame->pkt_dts;
    };
    if (std::erase_if(flagged, is_this) > 0) return "is damaged: its data are incomplete";
    if (frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0) {
      return "is damaged: the decoder had to conceal a part of it";
    }
    return nullptr;
  }

  Outcome next() {
    if (frame_is_ahead) {
      frame_is_ahead = false;
      return Outcome::kFrame;
    }
    while (true) {
      int result = avcodec_receive_frame(codec, frame);
      if (result == 0) {
        if (frame->width <= 0 || frame->height <= 0) return undecodable(AVERROR_INVALIDDATA);
        undecodable_in_a_row = 0;
        const char* found = find_damage();
        if (found == nullptr) return Outcome::kFrame;
        damage = found;
        return Outcome::kDamaged;
      }
      if (result == AVERROR_EOF) return Outcome::kEnd;
      if (result != AVERROR(EAGAIN)) return undecodable(result);

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
      take_note_of_packet();
      const bool is_ours = packet->stream_index == stream_index;
      result = is_ours ? avcodec_send_packet(codec, packet) : 0;
      av_packet_unref(packet);
      if (result < 0) return undecodable(result);
    }
  }

  Outcome undecodable(int result) {
    error = result;
    return ++undecodable_in_a_row > kMaxUndecodableInARow ? Outcome::kLost : Outcome::kUndecodable;
  }

  tl::unexpected<Error> failed(ErrorCode code, std::string_view what, int result,
                               std::chrono::nanoseconds timeout) const;
};

tl::unexpected<Error> VideoReader::State::failed(ErrorCode code, std::string_view what, int result,
                                                 std::chrono::nanoseconds timeout) const {
  if (stop.stop_requested()) return fail(ErrorCode::kUnavailable, "opening was stopped");
  if (interrupted()) {
    const std::chrono::duration<double> limit = timeout;
    return fail(ErrorCode::kUnavailable,
                fmt::format("{}: no answer within {} s", what, limit.count()));
  }
  return fail(code, fmt::format("{}: {}", what, describe_ffmpeg_error(result)));
}

Result<std::unique_ptr<VideoReader>> VideoReader::open(const std::string& location,
                                                       const VideoOptions& options,
                                                       const std::stop_token& stop) {
  silence_ffmpeg();
  const bool is_file = options.kind == VideoKind::kFile;
  std::unique_ptr<VideoReader> reader(new VideoReader);
  State& state = *reader->state_;
  state.stop = stop;
  state.max_pixels = options.max_pixels;
  state.deadline =
      SteadyClock::now() + std::clamp(options.open_timeout, std::chrono::nanoseconds(0),
                                      std::chrono::nanoseconds(std::chrono::hours(24)));
  const ErrorCode code = is_file ? ErrorCode::kCorrupt : ErrorCode::kUnavailable;

  state.format = avformat_alloc_context();
  if (state.format == nullptr || state.packet == nullptr || state.frame == nullptr) {
    return fail(ErrorCode::kExhausted, "out of memory");
  }
  state.format->interrupt_callback = {&State::is_interrupted, &state};
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
  const std::string url = is_file ? "file:" + location : location;
  int result = avformat_open_input(&state.format, url.c_str(), nullptr, &settings);
  av_dict_free(&settings);
  if (result < 0) return state.failed(code, "cannot be opened", result, options.open_timeout);

  // Sides are rounded up to blocks while decoding; the exact limit is checked on whole frames.
  const auto decoder_limit = static_cast<std::int64_t>(
      std::min<std::uint64_t>(options.max_pixels + options.max_pixels / 4 + (1 << 16), INT32_MAX));
  std::vector<AVDictionary*> per_stream(state.format->nb_streams, nullptr);
  for (AVDictionary*& one : per_stream) av_dict_set_int(&one, "max_pixels", decoder_limit, 0);
  result =
      avformat_find_stream_info(state.format, per_stream.empty() ? nullptr : per_stream.data());
  for (AVDictionary*& one : per_stream) av_dict_free(&one);
  if (result < 0) return state.failed(code, "has no readable stream", result, options.open_timeout);

  const AVCodec* decoder = nullptr;
  result = av_find_best_stream(state.format, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
  if (result == AVERROR_DECODER_NOT_FOUND) {
    return fail(ErrorCode::kUnsupported, "this FFmpeg has no decoder for its video");
  }
  if (result < 0) return state.failed(code, "has no video", result, options.open_timeout);
  state.stream_index = result;
  AVStream& stream = state.stream();
  const AVCodecParameters& parameters = *stream.codecpar;
  if (parameters.width > 0 && parameters.height > 0) {
    FOVEA_TRY(check_pixels(static_cast<std::uint32_t>(parameters.width),
                           static_cast<std::uint32_t>(parameters.height), options.max_pixels));
  }
  // The other streams say where the file ends if the video's own length is unknown.
  const bool needs_others = is_file && stream.nb_frames <= 0;
  for (unsigned i = 0; i < state.format->nb_streams && !needs_others; ++i) {
    if (static_cast<int>(i) != result) state.format->streams[i]->discard = AVDISCARD_ALL;
  }

  state.codec = avcodec_alloc_context3(decoder);
  if (state.codec == nullptr) return fail(ErrorCode::kExhausted, "out of memory");
  avcodec_parameters_to_context(state.codec, &parameters);
  state.codec->pkt_timebase = stream.time_base;
  state.codec->thread_count = static_cast<int>(options.threads);
  state.codec->max_pixels = decoder_limit;
  if (!is_file) state.codec->flags |= AV_CODEC_FLAG_LOW_DELAY;
  // Where each frame stands alone, what a decoder calls a minor error is a damaged picture, and
  // most of these decoders do not mark it otherwise. Elsewhere they do, and an error would also
  // cost the frames that are predicted from this one.
  const AVCodecDescriptor* descriptor = avcodec_descriptor_get(parameters.codec_id);
  if (descriptor != nullptr && (descriptor->props & AV_CODEC_PROP_INTRA_ONLY) != 0) {
    state.codec->err_recognition |= AV_EF_EXPLODE | AV_EF_CRCCHECK;
  }
  result = avcodec_open2(state.codec, decoder, nullptr);
  if (result < 0) {
    return state.failed(code, "its decoder cannot be started", result, options.open_timeout);
  }
  if (state.codec->width <= 0 || state.codec->height <= 0) {
    return fail(code, "does not tell the size of its frames");
  }

  VideoInfo& info = reader->info_;
  std::size_t matrix_bytes = 0;
  const std::uint8_t* matrix =
      av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &matrix_bytes);
  if (matrix != nullptr && matrix_bytes >= 9 * sizeof(std::int32_t)) {
    state.orientation = orientation_of(matrix);
    if (!state.orientation) {
      info.remark = "its display matrix turns by no multiple of 90 degrees and is not applied";
    }
  }
  info.width = static_cast<std::uint32_t>(state.codec->width);
  info.height = static_cast<std::uint32_t>(state.codec->height);
  if (state.orientation && swaps_sides(*state.orientation)) std::swap(info.width, info.height);
  info.fps = state.fps();
  if (is_file) {
    if (stream.nb_frames > 0) info.frame_count = static_cast<std::uint64_t>(stream.nb_frames);
    if (stream.duration > 0) {
      info.duration = static_cast<double>(stream.duration) * av_q2d(stream.time_base);
    } else if (state.format->duration > 0) {
      info.duration = static_cast<double>(state.format->duration) / AV_TIME_BASE;
    }
  }
  return reader;
}

VideoReader::VideoReader() : state_(std::make_unique<State>()) {}
VideoReader::~VideoReader() = default;

VideoReader::Outcome VideoReader::next(Deadline deadline, const std::stop_token& stop) {
  silence_ffmpeg();
  state_->stop = stop;
  state_->deadline = deadline;
  const Outcome outcome = state_->next();
  if (outcome == Outcome::kDamaged) state_->error = 0;
  return outcome;
}

std::string VideoReader::reason() const {
  if (state_->error == 0) return state_->damage;
  std::string text = describe_ffmpeg_error(state_->error);
  if (text.find("Picture size") != text.npos) {
    text += fmt::format("; max_pixels is {}", state_->max_pixels);
  }
  return text;
}

std::uint32_t VideoReader::width() const {
  const bool swapped = swaps_sides(state_->frame_orientation());
  return static_cast<std::uint32_t>(swapped ? state_->frame->height : state_->frame->width);
}

std::uint32_t VideoReader::height() const {
  const bool swapped = swaps_sides(state_->frame_orientation());
  return static_cast<std::uint32_t>(swapped ? state_->frame->width : state_->frame->height);
}

std::optional<std::chrono::nanoseconds> VideoReader::time() const { return state_->frame_time(); }

Result<std::size_t> VideoReader::convert(const ImageTarget& target) {
  return state_->scaler.convert(*state_->frame, state_->frame_orientation(), target);
}

Result<std::uint64_t> VideoReader::seek(double seconds, const std::stop_token& stop) {
  State& state = *state_;
  state.stop = stop;
  state.deadline = SteadyClock::time_point::max();
  state.has_sought = true;
  const double fps = state.fps() > 0 ? state.fps() : kFallbackFps;
  const std::int64_t base =
      state.format->start_time == AV_NOPTS_VALUE ? 0 : state.format->start_time;
  const std::int64_t target = base + std::llround(seconds * AV_TIME_BASE);
  // Where the container cannot seek, decoding from the start gets there as well.
  if (av_seek_frame(state.format, -1, target, AVSEEK_FLAG_BACKWARD) >= 0) {
    avcodec_flush_buffers(state.codec);
  }
  while (true) {
    switch (state.next()) {
      case Outcome::kFrame:
      case Outcome::kDamaged: {
        const auto stamp = state.frame_time();
        if (!stamp) return fail(ErrorCode::kUnsupported, "start: has no time stamps");
        const double time = std::chrono::duration<double>(*stamp).count();
        if (time < seconds - 0.5 / fps) break;
        state.frame_is_ahead = true;
        return static_cast<std::uint64_t>(std::max(0ll, std::llround(time * fps)));
      }
      case Outcome::kUndecodable:
        break;
      case Outcome::kInterrupted:
        return fail(ErrorCode::kUnavailable,
                    stop.stop_requested() ? "opening was stopped" : "seeking was interrupted");
      case Outcome::kEnd:
        return fail(ErrorCode::kCorrupt, fmt::format("ends before start, which is {} s", seconds));
      case Outcome::kLost:
        return fail(ErrorCode::kCorrupt, "is damaged before start: " + reason());
    }
  }
}

std::string VideoReader::missing_end(std::uint64_t frames) const {
  const State& state = *state_;
  if (info_.frame_count && !state.has_sought) {
    // Containers may count a frame or two that decoders do not show.
    const std::uint64_t tolerance = 1 + *info_.frame_count / 100;
    if (frames + tolerance >= *info_.frame_count) return {};
    return fmt::format("{} of {} frames are there", frames, *info_.frame_count);
  }
  // A length that was estimated from what is there says nothing of what is missing.
  if (state.format->duration <= 0 ||
      state.format->duration_estimation_method != AVFMT_DURATION_FROM_STREAM) {
    return {};
  }
  const double duration = info_.frame_count && info_.duration
                              ? *info_.duration
                              : static_cast<double>(state.format->duration) / AV_TIME_BASE;
  if (state.end_time + std::max(1.0, 0.02 * duration) >= duration) return {};
  return fmt::format("{:.1f} of {:.1f} s are there", state.end_time, duration);
}

}  // namespace fovea::imaging
