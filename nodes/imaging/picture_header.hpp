// What the headers of picture files say. Used by picture.cpp alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "nodes/imaging/picture.hpp"

namespace fovea::imaging {

// Numbers at offsets of a file. What lies outside reads as 0, so that a caller may look first and
// check has() where the difference counts.
class Bytes {
 public:
  explicit Bytes(std::span<const std::byte> bytes, bool little_endian = false)
      : bytes_(bytes), little_endian_(little_endian) {}

  bool has(std::uint64_t at, std::uint64_t count) const {
    return at <= bytes_.size() && count <= bytes_.size() - at;
  }
  std::uint32_t u8(std::uint64_t at) const { return number(at, 1); }
  std::uint32_t u16(std::uint64_t at) const { return number(at, 2); }
  std::uint32_t u24(std::uint64_t at) const { return number(at, 3); }
  std::uint32_t u32(std::uint64_t at) const { return number(at, 4); }
  bool starts(std::uint64_t at, std::string_view text) const;
  std::uint64_t size() const { return bytes_.size(); }
  std::span<const std::byte> from(std::uint64_t at, std::uint64_t most) const;

 private:
  std::uint32_t number(std::uint64_t at, int count) const;

  std::span<const std::byte> bytes_;
  bool little_endian_;
};

// As stored.
struct PictureHeader {
  PictureFormat format = PictureFormat::kJpeg;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  Orientation orientation = Orientation::kUpright;
  std::uint64_t orientation_at = 0;  // TIFF: offset of its value; 0 = it has none
  std::uint64_t bytes_needed = 0;    // by the header; 0 = it does not say
  // PNM: the digit behind the P, the value of white, and where the samples begin.
  std::uint32_t pnm_kind = 0;
  std::uint32_t sample_max = 0;
  std::uint64_t samples_at = 0;
  std::string unsupported{};  // why no decoder here takes it; empty otherwise
};

// nullopt for what is no picture of a known format, or has no size.
std::optional<PictureHeader> read_header(std::span<const std::byte> file);

// Whether the file begins as one of the formats that read_header() knows.
bool is_known_format(std::span<const std::byte> file);

// TIFF is also what Exif is made of.
bool is_tiff(std::span<const std::byte> bytes);
std::optional<PictureHeader> read_tiff_header(std::span<const std::byte> file);
// A copy that says upright. For OpenCV, which turns TIFFs whatever its flags say.
std::vector<std::byte> with_upright_tag(std::span<const std::byte> tiff,
                                        const PictureHeader& header);
// `exif` starts with the byte order, `II` or `MM`.
Orientation read_exif_orientation(std::span<const std::byte> exif);

std::optional<PictureHeader> read_pnm_header(std::span<const std::byte> file);
// Grey and colour, in digits and binary, scaled so that the header's white is 255: OpenCV leaves
// that to some of them only. REQUIRES: `target` has the header's size. Errors: kCorrupt.
Result<> decode_pnm(std::span<const std::byte> file, const PictureHeader& header,
                    const ImageTarget& target);

// Formats that people take for pictures and that are not read; empty for all others.
std::string_view name_of_foreign_format(std::span<const std::byte> file);

}  // namespace fovea::imaging
