// TIFF 6.0's first directory: of a TIFF picture, and of the Exif block in a JPEG, PNG or WebP.
#include <algorithm>

#include <fmt/core.h>

#include "nodes/imaging/picture_header.hpp"

namespace fovea::imaging {
namespace {

enum Tag : std::uint32_t {
  kImageWidth = 256,
  kImageLength = 257,
  kBitsPerSample = 258,
  kPhotometric = 262,
  kStripOffsets = 273,
  kOrientation = 274,
  kStripByteCounts = 279,
  kTileOffsets = 324,
  kTileByteCounts = 325,
  kExtraSamples = 338,
  kSampleFormat = 339,
};

// Values of one directory entry.
class Entry {
 public:
  Entry(const Bytes& file, std::uint64_t at) : file_(&file) {
    const std::uint32_t type = file.u16(at + 2);
    count_ = file.u32(at + 4);
    width_ = type == 1 ? 1 : type == 3 ? 2 : type == 4 ? 4 : 0;  // BYTE, SHORT, LONG
    const std::uint64_t bytes = std::uint64_t{count_} * width_;
    at_ = bytes <= 4 ? at + 8 : file.u32(at + 8);
    if (width_ == 0 || !file.has(at_, bytes)) count_ = 0;
  }
  std::uint32_t count() const { return count_; }
  std::uint64_t offset() const { return at_; }
  std::uint32_t value(std::uint32_t index = 0) const {
    if (index >= count_) return 0;
    const std::uint64_t at = at_ + std::uint64_t{index} * width_;
    return width_ == 1 ? file_->u8(at) : width_ == 2 ? file_->u16(at) : file_->u32(at);
  }

 private:
  const Bytes* file_;
  std::uint32_t count_ = 0;
  std::uint32_t width_ = 0;
  std::uint64_t at_ = 0;
};

bool is_little_endian(std::span<const std::byte> bytes) { return Bytes(bytes).starts(0, "II"); }

// REQUIRES: is_tiff(bytes).
template <class Visit>
void for_each_entry(const Bytes& file, const Visit& visit) {
  const std::uint64_t directory = file.u32(4);
  const std::uint32_t entries = file.u16(directory);
  for (std::uint32_t i = 0; i < entries; ++i) {
    const std::uint64_t at = directory + 2 + std::uint64_t{12} * i;
    if (!file.has(at, 12)) return;
    visit(file.u16(at), Entry(file, at));
  }
}

}  // namespace

bool is_tiff(std::span<const std::byte> bytes) {
  const Bytes file(bytes);
  using std::string_view_literals::operator""sv;
  return file.starts(0, "II*\0"sv) || file.starts(0, "MM\0*"sv);
}

Orientation read_exif_orientation(std::span<const std::byte> exif) {
  Orientation orientation = Orientation::kUpright;
  if (!is_tiff(exif)) return orientation;
  for_each_entry(Bytes(exif, is_little_endian(exif)), [&](std::uint32_t tag, const Entry& entry) {
    if (tag == kOrientation && entry.count() > 0)
      orientation = orientation_from_exif(entry.value());
  });
  return orientation;
}

std::optional<PictureHeader> read_tiff_header(std::span<const std::byte> bytes) {
  const Bytes file(bytes, is_little_endian(bytes));
  PictureHeader header{.format = PictureFormat::kTiff};
  header.bytes_needed = file.u32(4) + std::uint64_t{2};
  std::uint32_t bits = 1;
  std::uint32_t kind = 1;
  std::optional<Entry> offsets;
  std::optional<Entry> lengths;
  for_each_entry(file, [&](std::uint32_t tag, const Entry& entry) {
    switch (tag) {
      case kImageWidth:
        header.width = entry.value();
        break;
      case kImageLength:
        header.height = entry.value();
        break;
      case kBitsPerSample:
        bits = entry.value();
        break;
      case kSampleFormat:
        kind = entry.value();
        break;
      case kOrientation:
        header.orientation = orientation_from_exif(entry.value());
        if (entry.count() > 0) header.orientation_at = entry.offset();
        break;
      case kExtraSamples:
        if (entry.value() != 0) header.unsupported = "is a TIFF with alpha; save it without";
        break;
      case kStripOffsets:
      case kTileOffsets:
        offsets = entry;
        break;
      case kStripByteCounts:
      case kTileByteCounts:
        lengths = entry;
        break;
      default:
        break;
    }
  });
  if (kind != 1 && kind != 4) {
    header.unsupported = "is a TIFF of floating-point or signed samples; save it with 8 or 16 bits";
  } else if (bits != 1 && bits != 2 && bits != 4 && bits != 8 && bits != 16) {
    header.unsupported =
        fmt::format("is a TIFF of {} bits a sample; 1, 2, 4, 8 and 16 are read", bits);
  }
  if (offsets && lengths) {
    const std::uint32_t parts = std::min(offsets->count(), lengths->count());
    for (std::uint32_t i = 0; i < parts; ++i) {
      header.bytes_needed =
          std::max(header.bytes_needed, std::uint64_t{offsets->value(i)} + lengths->value(i));
    }
  }
  return header;
}

std::vector<std::byte> with_upright_tag(std::span<const std::byte> tiff,
                                        const PictureHeader& header) {
  std::vector<std::byte> copy(tiff.begin(), tiff.end());
  // A SHORT, as the format demands.
  if (header.orientation_at == 0 || header.orientation_at + 2 > copy.size()) return copy;
  copy[header.orientation_at] = is_little_endian(tiff) ? std::byte{1} : std::byte{0};
  copy[header.orientation_at + 1] = is_little_endian(tiff) ? std::byte{0} : std::byte{1};
  return copy;
}

}  // namespace fovea::imaging
