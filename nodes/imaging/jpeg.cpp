// libjpeg reports errors by longjmp: no object with a destructor lives in the frames that it
// crosses.
#include "nodes/imaging/jpeg.hpp"

#include <array>
#include <csetjmp>
#include <cstdio>  // before jpeglib.h, which needs FILE and size_t
#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <jpeglib.h>
// After jpeglib.h.
#include <jerror.h>

#include "nodes/base/text.hpp"
#include "nodes/imaging/picture.hpp"

#ifndef JCS_EXTENSIONS
#error "libjpeg-turbo is needed: it writes BGR rows"
#endif

namespace fovea::imaging {
namespace {

// Cheap cameras leave some bytes between picture and marker. More of them mean that the decoder
// lost its place in the data: the picture was over, the data were not.
constexpr int kMaxPadding = 16;
// A few kilobytes of progressive scans over a large picture keep a decoder busy for minutes.
constexpr int kMaxScans = 200;

struct Trouble {
  jpeg_error_mgr manager;
  std::jmp_buf back;
  bool ended_early = false;  // libjpeg had to make an end marker up
  bool is_error = false;     // not a warning
  int code = 0;              // libjpeg's, 0 = none
  std::array<char, JMSG_LENGTH_MAX> text{};
};

Trouble& trouble_of(j_common_ptr jpeg) { return *reinterpret_cast<Trouble*>(jpeg->err); }

[[noreturn]] void give_up(j_common_ptr jpeg) {
  Trouble& trouble = trouble_of(jpeg);
  trouble.code = jpeg->err->msg_code;
  jpeg->err->format_message(jpeg, trouble.text.data());
  std::longjmp(trouble.back, 1);
}

[[noreturn]] void on_error(j_common_ptr jpeg) {
  trouble_of(jpeg).is_error = true;
  give_up(jpeg);
}

// Level -1 is a warning, the rest is talk.
void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  switch (jpeg->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_BOGUS_ICC:
    case JWRN_BOGUS_PROGRESSION:
      return;  // the header's oddities; the pixels are sound
    case JWRN_JPEG_EOF:
      trouble_of(jpeg).ended_early = true;
      return;
    case JWRN_EXTRANEOUS_DATA:
      if (jpeg->err->msg_parm.i[0] <= kMaxPadding) return;
      break;
    default:
      break;
  }
  give_up(jpeg);
}

void on_output(j_common_ptr) {}

void watch_scans(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number > kMaxScans) {
    ERREXIT(jpeg, JERR_BAD_PROGRESSION);
  }
}

jpeg_error_mgr* install(Trouble& trouble) {
  jpeg_error_mgr* manager = jpeg_std_error(&trouble.manager);
  manager->error_exit = on_error;
  manager->emit_message = on_message;
  manager->output_message = on_output;
  return manager;
}

// Adobe writes CMYK inverted: 255 is no ink.
void bgr_from_cmyk(const JSAMPLE* from, std::byte* to, std::uint32_t width, bool inverted) {
  for (std::uint32_t x = 0; x < width; ++x, from += 4, to += 3) {
    const auto light = [&](int component) {
      return inverted ? int{from[component]} : 255 - from[component];
    };
    const int black = light(3);
    for (int c = 0; c < 3; ++c) to[c] = static_cast<std::byte>((light(2 - c) * black + 127) / 255);
  }
}

enum class Verdict { kWhole, kTrouble, kOtherSize, kOtherColours };

// `cmyk_row` has room for a row of four components.
Verdict decode(jpeg_decompress_struct& jpeg, jpeg_progress_mgr& progress, Trouble& trouble,
               std::span<const std::byte> file, const ImageTarget& target, JSAMPLE* cmyk_row) {
  if (setjmp(trouble.back) != 0) return Verdict::kTrouble;
  jpeg_create_decompress(&jpeg);
  jpeg.progress = &progress;
  jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_read_header(&jpeg, TRUE);
  if (jpeg.image_width != target.width || jpeg.image_height != target.height) {
    return Verdict::kOtherSize;
  }
  const bool is_cmyk = jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK;
  if (jpeg.jpeg_color_space == JCS_UNKNOWN) return Verdict::kOtherColours;
  jpeg.out_color_space = is_cmyk ? JCS_CMYK : JCS_EXT_BGR;
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    std::byte* row = target.data + jpeg.output_scanline * target.step;
    JSAMPROW destination = is_cmyk ? cmyk_row : reinterpret_cast<JSAMPROW>(row);
    if (jpeg_read_scanlines(&jpeg, &destination, 1) != 1) return Verdict::kTrouble;
    if (is_cmyk) bgr_from_cmyk(cmyk_row, row, target.width, jpeg.saw_Adobe_marker != 0);
  }
  jpeg_finish_decompress(&jpeg);
  return Verdict::kWhole;
}

bool is_unsupported(const Trouble& trouble) {
  if (!trouble.is_error) return false;
  switch (trouble.code) {
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_COMPONENT_COUNT:
    case JERR_ARITH_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_NOT_COMPILED:
      return true;
    default:
      return false;
  }
}

struct Encoder {
  jpeg_compress_struct jpeg{};
  Trouble trouble;
  unsigned char* memory = nullptr;
  unsigned long size = 0;
};

bool encode(Encoder& encoder, const Pixels& pixels, int quality) {
  jpeg_compress_struct& jpeg = encoder.jpeg;
  if (setjmp(encoder.trouble.back) != 0) return false;
  jpeg_create_compress(&jpeg);
  jpeg_mem_dest(&jpeg, &encoder.memory, &encoder.size);
  jpeg.image_width = pixels.width;
  jpeg.image_height = pixels.height;
  jpeg.input_components = msgs::channels(pixels.encoding) == 1 ? 1 : 3;
  jpeg.in_color_space = pixels.encoding == msgs::Encoding::kMono8  ? JCS_GRAYSCALE
                        : pixels.encoding == msgs::Encoding::kRgb8 ? JCS_EXT_RGB
                                                                   : JCS_EXT_BGR;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, quality, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    auto* row = reinterpret_cast<JSAMPROW>(
        const_cast<std::byte*>(pixels.bytes.data() + jpeg.next_scanline * pixels.step));
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  return true;
}

}  // namespace

Result<> decode_jpeg(std::span<const std::byte> file, bool needs_end_marker,
                     const ImageTarget& target) {
  jpeg_decompress_struct jpeg{};
  jpeg_progress_mgr progress{};
  Trouble trouble;
  std::vector<JSAMPLE> cmyk_row(std::size_t{4} * target.width);
  jpeg.err = install(trouble);
  progress.progress_monitor = watch_scans;
  const Verdict verdict = decode(jpeg, progress, trouble, file, target, cmyk_row.data());
  const JDIMENSION row = jpeg.output_scanline;
  const JDIMENSION rows = jpeg.image_height;
  const JDIMENSION width = jpeg.image_width;
  const bool is_progressive = jpeg.progressive_mode != 0;
  const int components = jpeg.num_components;
  jpeg_destroy_decompress(&jpeg);
  switch (verdict) {
    case Verdict::kOtherSize:
      return fail(ErrorCode::kCorrupt, fmt::format("is {}x{}, not {}x{} as its header says", width,
                                                   rows, target.width, target.height));
    case Verdict::kOtherColours:
      return fail(ErrorCode::kUnsupported,
                  fmt::format("is a JPEG of {} components in no known colour space", components));
    case Verdict::kTrouble:
      if (trouble.ended_early) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("is cut off: its data end in row {} of {}", row, rows));
      }
      if (is_unsupported(trouble)) {
        return fail(ErrorCode::kUnsupported, fmt::format("is a JPEG that cannot be read: {}",
                                                         one_line(trouble.text.data())));
      }
      return fail(ErrorCode::kCorrupt,
                  rows == 0 ? fmt::format("is damaged: {}", one_line(trouble.text.data()))
                            : fmt::format("is damaged in row {} of {}: {}", row, rows,
                                          one_line(trouble.text.data())));
    case Verdict::kWhole:
      break;
  }
  // Without its end, a progressive picture may lack whole scans.
  if (trouble.ended_early && (needs_end_marker || is_progressive)) {
    return fail(ErrorCode::kCorrupt, "is cut off: the end marker is missing");
  }
  return {};
}

Result<> encode_jpeg(const Pixels& pixels, int quality, std::vector<std::byte>& jpeg) {
  const std::size_t row = std::size_t{pixels.width} * msgs::channels(pixels.encoding);
  if (row == 0 || pixels.height == 0 || pixels.step < row ||
      pixels.step * (pixels.height - 1) + row > pixels.bytes.size()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("picture is {}x{} with a step of {} in {} bytes", pixels.width,
                            pixels.height, pixels.step, pixels.bytes.size()));
  }
  Encoder encoder;
  encoder.jpeg.err = install(encoder.trouble);
  const bool done = encode(encoder, pixels, quality);
  jpeg_destroy_compress(&encoder.jpeg);
  const auto* bytes = reinterpret_cast<const std::byte*>(encoder.memory);
  if (done) jpeg.assign(bytes, bytes + encoder.size);
  std::free(encoder.memory);
  if (!done) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("picture of {}x{} cannot be a JPEG: {}", pixels.width, pixels.height,
                            encoder.trouble.text.data()));
  }
  return {};
}

}  // namespace fovea::imaging
