#include "nodes/imaging/picture.hpp"

#include <utility>

#include <fmt/core.h>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <zlib.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"
#include "nodes/imaging/jpeg.hpp"
#include "nodes/imaging/picture_header.hpp"

namespace fovea::imaging {
namespace {

constexpr std::uint64_t kMaxPictureBytes = std::uint64_t{1} << 30;

constexpr std::string_view kFormats = "JPEG, PNG, WebP, BMP, TIFF or PNM";

cv::Mat view(const ImageTarget& target) {
  return cv::Mat(static_cast<int>(target.height), static_cast<int>(target.width), CV_8UC3,
                 target.data, target.step);
}

// Decodes as stored, into `image` if it has the right size already.
Result<> decode_by_opencv(std::span<const std::byte> file, cv::Mat& image) {
  const cv::Mat bytes(1, static_cast<int>(file.size()), CV_8UC1,
                      const_cast<std::byte*>(file.data()));
  try {
    cv::imdecode(bytes, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION, &image);
    if (image.empty()) return fail(ErrorCode::kCorrupt, "is damaged: it cannot be decoded");
    return {};
  } catch (const cv::Exception& error) {
    return fail(ErrorCode::kCorrupt, fmt::format("is damaged: {}", shown(error.err)));
  }
}

// Before libpng sees it, which would print its own words on stderr. Of what makes the picture only:
// a remark that is damaged harms nobody.
Result<> check_png(std::span<const std::byte> file) {
  const Bytes bytes(file);
  std::uint64_t at = 8;  // behind the signature
  while (bytes.has(at, 12)) {
    const std::uint64_t length = bytes.u32(at);
    if (!bytes.has(at, 12 + length)) break;  // cut off, which the decoder finds
    const auto* type = reinterpret_cast<const unsigned char*>(file.data() + at + 4);
    const bool makes_picture = (type[0] & 0x20) == 0;
    const std::uint64_t sum_at = at + 8 + length;
    if (makes_picture && ::crc32_z(0, type, 4 + length) != bytes.u32(sum_at)) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("is damaged: a checksum is wrong at byte {}", sum_at));
    }
    if (bytes.starts(at + 4, "IEND")) break;
    at = sum_at + 4;
  }
  return {};
}

}  // namespace

Result<PictureInfo> inspect_picture(std::span<const std::byte> file,
                                    const PictureOptions& options) {
  if (file.empty()) return fail(ErrorCode::kCorrupt, "is empty");
  const auto header = read_header(file);
  if (!header) {
    if (is_known_format(file)) {
      return fail(ErrorCode::kCorrupt, "is cut off or damaged: its header tells no size");
    }
    const std::string_view foreign = name_of_foreign_format(file);
    if (foreign.empty()) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("is no picture that can be read; {} can", kFormats));
    }
    return fail(ErrorCode::kUnsupported, fmt::format("is {}; {} can be read", foreign, kFormats));
  }
  FOVEA_TRY(check_pixels(header->width, header->height, options.max_pixels));
  if (!header->unsupported.empty()) return fail(ErrorCode::kUnsupported, header->unsupported);
  if (header->bytes_needed > file.size()) {
    return fail(ErrorCode::kCorrupt, fmt::format("is cut off: {} bytes of at least {} are there",
                                                 file.size(), header->bytes_needed));
  }
  PictureInfo info{.format = header->format,
                   .width = header->width,
                   .height = header->height,
                   .orientation = header->orientation};
  if (swaps_sides(info.orientation)) std::swap(info.width, info.height);
  return info;
}

Result<std::size_t> decode_picture(std::span<const std::byte> file, const PictureInfo& info,
                                   const ImageTarget& target, const PictureOptions& options) {
  const bool upright = info.orientation == Orientation::kUpright;
  const bool is_jpeg = info.format == PictureFormat::kJpeg;
  if (upright && is_jpeg) {
    FOVEA_TRY(decode_jpeg(file, options.needs_end_marker, target));
    return std::size_t{0};
  }
  const bool swapped = swaps_sides(info.orientation);
  const cv::Size stored(static_cast<int>(swapped ? target.height : target.width),
                        static_cast<int>(swapped ? target.width : target.height));
  cv::Mat image = upright ? view(target) : cv::Mat();
  if (is_jpeg) {
    image.create(stored, CV_8UC3);
    FOVEA_TRY(decode_jpeg(
        file, options.needs_end_marker,
        {reinterpret_cast<std::byte*>(image.data), static_cast<std::uint32_t>(image.cols),
         static_cast<std::uint32_t>(image.rows), image.step}));
  } else {
    const auto header = read_header(file);
    if (!header) return fail(ErrorCode::kCorrupt, "is no picture");
    const bool is_bitmap = header->pnm_kind == 1 || header->pnm_kind == 4;
    if (info.format == PictureFormat::kPnm && !is_bitmap) {
      FOVEA_TRY(decode_pnm(file, *header, target));
      return std::size_t{0};
    }
    if (info.format == PictureFormat::kPng) FOVEA_TRY(check_png(file));
    std::vector<std::byte> tiff;
    if (info.format == PictureFormat::kTiff && !upright) tiff = with_upright_tag(file, *header);
    FOVEA_TRY(decode_by_opencv(tiff.empty() ? file : tiff, image));
  }
  if (image.size() != stored || image.type() != CV_8UC3) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("is {}x{}, not {}x{} as its header says", image.cols, image.rows,
                            stored.width, stored.height));
  }
  const auto* pixels = reinterpret_cast<const std::byte*>(image.data);
  if (pixels == target.data) return std::size_t{0};
  place_upright(pixels, image.step, info.orientation, target);
  return std::size_t{3} * target.width * target.height;
}

Result<std::vector<std::byte>> read_picture_file(const std::filesystem::path& path) {
  FOVEA_ASSIGN(auto bytes, read_file(path, kMaxPictureBytes));
  if (bytes.empty()) return fail(ErrorCode::kCorrupt, path.string() + ": is empty");
  return bytes;
}

Result<> encode_png(const Pixels& pixels, std::vector<std::byte>& png) {
  const std::size_t row = std::size_t{3} * pixels.width;
  if (pixels.encoding != msgs::Encoding::kBgr8 || row == 0 || pixels.height == 0 ||
      pixels.step < row || pixels.step * (pixels.height - 1) + row > pixels.bytes.size()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("picture is {}x{} with a step of {} in {} bytes", pixels.width,
                            pixels.height, pixels.step, pixels.bytes.size()));
  }
  const cv::Mat image(static_cast<int>(pixels.height), static_cast<int>(pixels.width), CV_8UC3,
                      const_cast<std::byte*>(pixels.bytes.data()), pixels.step);
  std::vector<unsigned char> file;
  try {
    if (!cv::imencode(".png", image, file)) {
      return fail(ErrorCode::kInternal, "the picture cannot be encoded as PNG");
    }
  } catch (const cv::Exception& error) {
    return fail(ErrorCode::kInternal, fmt::format("no PNG: {}", shown(error.err)));
  }
  const auto* first = reinterpret_cast<const std::byte*>(file.data());
  png.assign(first, first + file.size());
  return {};
}

}  // namespace fovea::imaging
