// JPEG (ITU T.81, B.2), PNG, WebP, BMP and PNM headers; every offset is checked.
#include "nodes/imaging/picture_header.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/core.h>

namespace fovea::imaging {

using std::string_view_literals::operator""sv;

bool Bytes::starts(std::uint64_t at, std::string_view text) const {
  return has(at, text.size()) && std::memcmp(bytes_.data() + at, text.data(), text.size()) == 0;
}

std::span<const std::byte> Bytes::from(std::uint64_t at, std::uint64_t most) const {
  if (at >= bytes_.size()) return {};
  return bytes_.subspan(at, std::min<std::uint64_t>(most, bytes_.size() - at));
}

std::uint32_t Bytes::number(std::uint64_t at, int count) const {
  if (!has(at, static_cast<std::uint64_t>(count))) return 0;
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) {
    const int from = little_endian_ ? count - 1 - i : i;
    value =
        value << 8 | std::to_integer<std::uint32_t>(bytes_[at + static_cast<std::uint64_t>(from)]);
  }
  return value;
}

namespace {

constexpr std::string_view kPngSignature = "\x89PNG\r\n\x1a\n";

// Exif blocks begin with this in JPEG, and in some WebP and PNG files.
constexpr std::string_view kExifMark = "Exif\0\0"sv;

Orientation orientation_of_block(const Bytes& block, std::uint64_t size) {
  const std::uint64_t start = block.starts(0, kExifMark) ? kExifMark.size() : 0;
  return size < start ? Orientation::kUpright
                      : read_exif_orientation(block.from(start, size - start));
}

std::optional<PictureHeader> read_jpeg(const Bytes& file) {
  PictureHeader header{.format = PictureFormat::kJpeg};
  bool has_exif = false;
  std::uint64_t at = 2;
  while (file.has(at, 4)) {
    if (file.u8(at) != 0xff) {  // bytes between segments: decoders step over them too
      ++at;
      continue;
    }
    const std::uint32_t marker = file.u8(at + 1);
    if (marker == 0xff || marker == 0x00 || marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += marker == 0xff ? 1 : 2;  // a fill byte, or a marker without a segment
      continue;
    }
    if (marker == 0xd9 || marker == 0xda) break;  // the end, or the picture's data
    const std::uint64_t length = file.u16(at + 2);
    if (length < 2) return std::nullopt;
    if (marker == 0xe1 && !has_exif && length > 8 && file.starts(at + 4, kExifMark)) {
      has_exif = true;
      const Bytes block(file.from(at + 4, length - 2));
      header.orientation = orientation_of_block(block, block.size());
    }
    const bool is_frame =
        marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (is_frame && header.width == 0 && file.has(at, 9)) {
      header.height = file.u16(at + 5);
      header.width = file.u16(at + 7);
      if (header.height == 0 && header.width > 0) {
        header.height = 1;
        header.unsupported = "is a JPEG that tells its height only behind the picture (DNL)";
      }
    }
    at += 2 + length;
  }
  return header;
}

std::optional<PictureHeader> read_png(const Bytes& file) {
  if (!file.starts(12, "IHDR")) {
    return file.starts(12, "CgBI")
               ? std::optional(PictureHeader{.format = PictureFormat::kPng,
                                             .width = 1,
                                             .height = 1,
                                             .unsupported = "is a PNG in Apple's own dialect"})
               : std::nullopt;
  }
  PictureHeader header{
      .format = PictureFormat::kPng, .width = file.u32(16), .height = file.u32(20)};
  std::uint64_t at = kPngSignature.size();
  for (bool is_end = false; !is_end;) {
    const std::uint64_t length = file.u32(at);
    header.bytes_needed = at + 12 + length;
    if (!file.has(at, 12 + length)) break;  // cut: as much as this chunk lacks, at least
    if (file.starts(at + 4, "eXIf")) {
      header.orientation = orientation_of_block(Bytes(file.from(at + 8, length)), length);
    }
    is_end = file.starts(at + 4, "IEND");
    at += 12 + length;
  }
  return header;
}

std::optional<PictureHeader> read_webp(std::span<const std::byte> bytes) {
  const Bytes file(bytes, true);
  PictureHeader header{.format = PictureFormat::kWebp,
                       .bytes_needed = std::uint64_t{8} + file.u32(4)};
  constexpr std::uint32_t kSide = 0x3fff;
  std::uint64_t at = 12;
  while (file.has(at, 8)) {
    const std::uint64_t length = file.u32(at + 4);
    const std::uint64_t data = at + 8;
    if (file.starts(at, "VP8X")) {
      header.width = file.u24(data + 4) + 1;
      header.height = file.u24(data + 7) + 1;
      if ((file.u8(data) & 0x02) != 0) header.unsupported = "is an animated WebP";
    } else if (file.starts(at, "VP8 ") && header.width == 0) {
      header.width = file.u16(data + 6) & kSide;
      header.height = file.u16(data + 8) & kSide;
    } else if (file.starts(at, "VP8L") && header.width == 0) {
      const std::uint32_t sides = file.u32(data + 1);
      header.width = (sides & kSide) + 1;
      header.height = (sides >> 14 & kSide) + 1;
    } else if (file.starts(at, "EXIF")) {
      header.orientation = orientation_of_block(Bytes(file.from(data, length)), length);
    }
    at = data + length + (length & 1);
  }
  return header;
}

std::optional<PictureHeader> read_bmp(std::span<const std::byte> bytes) {
  const Bytes file(bytes, true);
  PictureHeader header{.format = PictureFormat::kBmp};
  const std::uint32_t info = file.u32(14);
  std::uint32_t bits = 0;
  std::uint32_t compression = 0;
  if (info == 12) {
    header.width = file.u16(18);
    header.height = file.u16(20);
    bits = file.u16(24);
  } else if (info >= 40) {
    const auto height = static_cast<std::int32_t>(file.u32(22));  // below 0: rows from the top
    header.width = file.u32(18);
    header.height = height < 0 ? 0U - file.u32(22) : file.u32(22);
    bits = file.u16(28);
    compression = file.u32(30);
  } else {
    return std::nullopt;
  }
  if (header.width > 0x7fffffff) return std::nullopt;
  const bool is_plain = compression == 0 || compression == 3;
  if (is_plain) {
    // The last row may lack its padding.
    const std::uint64_t row = std::uint64_t{header.width} * bits;
    header.bytes_needed = file.u32(10) + (row + 7) / 8;
    if (header.height > 1) header.bytes_needed += (row + 31) / 32 * 4 * (header.height - 1);
  }
  return header;
}

std::optional<PictureHeader> read_any(std::span<const std::byte> bytes) {
  const Bytes file(bytes);
  if (file.starts(0, "\xff\xd8")) return read_jpeg(file);
  if (file.starts(0, kPngSignature)) return read_png(file);
  if (file.starts(0, "RIFF") && file.starts(8, "WEBP")) return read_webp(bytes);
  if (is_tiff(bytes)) return read_tiff_header(bytes);
  if (file.starts(0, "BM")) return read_bmp(bytes);
  if (file.starts(0, "P") && file.u8(1) >= '1' && file.u8(1) <= '6') return read_pnm_header(bytes);
  return std::nullopt;
}

}  // namespace

std::optional<PictureHeader> read_header(std::span<const std::byte> file) {
  auto header = read_any(file);
  if (header && (header->width == 0 || header->height == 0)) return std::nullopt;
  return header;
}

bool is_known_format(std::span<const std::byte> bytes) {
  const Bytes file(bytes);
  return file.starts(0, "\xff\xd8\xff") || file.starts(0, kPngSignature) || is_tiff(bytes) ||
         (file.starts(0, "RIFF") && file.starts(8, "WEBP"));
}

std::string_view name_of_foreign_format(std::span<const std::byte> bytes) {
  const Bytes file(bytes);
  if (file.starts(4, "ftyp")) {
    for (const auto brand : {"heic"sv, "heix"sv, "hevc"sv, "mif1"sv, "msf1"sv, "heim"sv}) {
      if (file.starts(8, brand)) return "HEIF";
    }
    if (file.starts(8, "avif") || file.starts(8, "avis")) return "AVIF";
    return "a video";
  }
  if (file.starts(0, "GIF8")) return "GIF";
  if (file.starts(4, "jP  ") || file.starts(0, "\xff\x4f\xff\x51")) return "JPEG 2000";
  if (file.starts(0, "II+\0"sv) || file.starts(0, "MM\0+"sv)) return "BigTIFF";
  if (file.starts(0, "\xff\x0a") || file.starts(4, "JXL ")) return "JPEG XL";
  if (file.starts(0, "\x76\x2f\x31\x01")) return "OpenEXR";
  if (file.starts(0, "8BPS")) return "Photoshop";
  if (file.starts(0, "version https://git-lfs"))
    return "a Git LFS pointer (git lfs pull gets the file)";
  return {};
}

}  // namespace fovea::imaging
