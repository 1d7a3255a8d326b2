#include "tests/imaging/video_maker.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/opt.h>
}

namespace fovea::imaging {
namespace {

bool failed(const char* what, int error) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(error, text.data(), text.size());
  std::fprintf(stderr, "make_video: %s: %s\n", what, text.data());
  return false;
}

struct Maker {
  const MadeVideo& video;
  AVFormatContext* format = nullptr;
  AVCodecContext* encoder = nullptr;
  AVFrame* frame = av_frame_alloc();
  AVPacket* packet = av_packet_alloc();
  AVStream* stream = nullptr;
  int packets = 0;

  ~Maker() {
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&encoder);
    if (format != nullptr) {
      avio_closep(&format->pb);
      avformat_free_context(format);
    }
  }

  std::int64_t stamp_ms(int index) const {
    if (!video.stamps_ms.empty()) return video.stamps_ms[static_cast<std::size_t>(index)];
    return std::int64_t{1000} * index / video.fps;
  }

  bool open() {
    int result = avformat_alloc_output_context2(&format, nullptr, nullptr, video.path.c_str());
    if (result < 0) return failed("container", result);
    const AVCodec* codec = avcodec_find_encoder_by_name(video.codec.c_str());
    if (codec == nullptr) return failed("encoder", AVERROR_ENCODER_NOT_FOUND);
    encoder = avcodec_alloc_context3(codec);
    const bool is_jpeg = codec->id == AV_CODEC_ID_MJPEG;
    encoder->width = video.width;
    encoder->height = video.height;
    encoder->pix_fmt = is_jpeg ? AV_PIX_FMT_YUVJ420P : AV_PIX_FMT_YUV420P;
    encoder->time_base = video.stamps_ms.empty() ? AVRational{1, video.fps} : AVRational{1, 1000};
    encoder->framerate = {video.fps, 1};
    encoder->gop_size = video.key_frame_distance;
    encoder->max_b_frames = 0;
    encoder->flags |= AV_CODEC_FLAG_QSCALE | AV_CODEC_FLAG_BITEXACT;
    encoder->global_quality = 2 * FF_QP2LAMBDA;
    encoder->strict_std_compliance = FF_COMPLIANCE_UNOFFICIAL;
    if (video.full_range || is_jpeg) encoder->color_range = AVCOL_RANGE_JPEG;
    if (video.bt709) encoder->colorspace = AVCOL_SPC_BT709;
    if ((format->oformat->flags & AVFMT_GLOBALHEADER) != 0) {
      encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    }
    result = avcodec_open2(encoder, codec, nullptr);
    if (result < 0) return failed("opening the encoder", result);
    stream = avformat_new_stream(format, nullptr);
    stream->time_base = encoder->time_base;
    stream->avg_frame_rate = encoder->framerate;
    avcodec_parameters_from_context(stream->codecpar, encoder);
    if (video.matrix) {
      auto* side = av_stream_new_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX,
                                           sizeof(std::int32_t) * video.matrix->size());
      std::memcpy(side, video.matrix->data(), sizeof(std::int32_t) * video.matrix->size());
    }
    result = avio_open(&format->pb, video.path.c_str(), AVIO_FLAG_WRITE);
    if (result < 0) return failed("opening the file", result);
    AVDictionary* options = nullptr;
    if (video.index_first) av_dict_set(&options, "movflags", "faststart", 0);
    result = avformat_write_header(format, &options);
    av_dict_free(&options);
    return result >= 0 || failed("header", result);
  }

  void paint(int index) {
    for (int plane = 0; plane < 3; ++plane) {
      const int part = plane == 0 ? 1 : 2;
      for (int y = 0; y < (video.height + part - 1) / part; ++y) {
        std::uint8_t* row = frame->data[plane] + y * frame->linesize[plane];
        for (int x = 0; x < (video.width + part - 1) / part; ++x) {
          const auto colour = video.paint ? video.paint(index, x * part, y * part)
                                          : std::array<int, 3>{20 + 10 * index, 128, 128};
          row[x] = static_cast<std::uint8_t>(colour[static_cast<std::size_t>(plane)]);
        }
      }
    }
  }

  bool write_packets() {
    while (avcodec_receive_packet(encoder, packet) == 0) {
      const int index = packets++;
      if (video.damage) {
        std::vector<std::uint8_t> bytes(packet->data, packet->data + packet->size);
        video.damage(index, bytes);
        AVPacket* changed = av_packet_alloc();
        av_new_packet(changed, static_cast<int>(bytes.size()));
        std::copy(bytes.begin(), bytes.end(), changed->data);
        av_packet_copy_props(changed, packet);
        std::swap(packet, changed);
        av_packet_free(&changed);
      }
      packet->stream_index = stream->index;
      if (packet->duration == 0) {
        packet->duration =
            std::max<std::int64_t>(1, av_rescale_q(1, {1, video.fps}, encoder->time_base));
      }
      av_packet_rescale_ts(packet, encoder->time_base, stream->time_base);
      if (video.restamp) {
        const AVRational ms{1, 1000};
        packet->pts = packet->dts =
            av_rescale_q(video.restamp(index, av_rescale_q(packet->pts, stream->time_base, ms)), ms,
                         stream->time_base);
      }
      const int result = av_write_frame(format, packet);
      av_packet_unref(packet);
      if (result < 0) return failed("writing", result);
    }
    return true;
  }

  bool run() {
    if (!open()) return false;
    for (int i = 0; i < video.frames; ++i) {
      av_frame_unref(frame);
      frame->format = encoder->pix_fmt;
      frame->width = video.width;
      frame->height = video.height;
      frame->color_range = encoder->color_range;
      frame->colorspace = encoder->colorspace;
      frame->quality = encoder->global_quality;
      int result = av_frame_get_buffer(frame, 0);
      if (result < 0) return failed("frame", result);
      frame->pts = av_rescale_q(stamp_ms(i), {1, 1000}, encoder->time_base);
      paint(i);
      result = avcodec_send_frame(encoder, frame);
      if (result < 0) return failed("encoding", result);
      if (!write_packets()) return false;
    }
    avcodec_send_frame(encoder, nullptr);
    if (!write_packets()) return false;
    return av_write_trailer(format) >= 0;
  }
};

}  // namespace

bool make_video(const MadeVideo& video) { return Maker{.video = video}.run(); }

}  // namespace fovea::imaging
