// Picture files, for all ways in: cameras, calibration, verification, recordings and the player.
// What a picture is (its size, which way is up, its colours, whether it is whole) is decided here,
// so that a network sees the same pixels wherever they come from.
//
// - Pictures come out upright: the Exif orientation of JPEG, PNG, WebP and TIFF is applied, and
//   sizes are those of the upright picture.
// - Colours come out as 8-bit BGR. Grey, palette, 16-bit samples (their high byte), CMYK and YCCK
//   JPEG are converted. Alpha is ignored: the colour as stored stays, also below transparent
//   pixels, as in cv2.imread, which models are trained through. Colour profiles are ignored for the
//   same reason. Refused by name: floating-point samples, TIFF with alpha (its decoder would blend
//   it over black), animated WebP, JPEG with 12 bits or lossless, HEIF, GIF, JPEG 2000.
// - A damaged or cut-off picture is an error, never a picture with grey below.
// - Sizes are checked against a limit before anything is allocated, since 100 kB can hold a picture
//   of 10 GB.
//
// Any bytes are safe. Errors do not name the file; callers do, with Error::with_context. They are
// kCorrupt (damaged, no picture), kUnsupported, and kInvalidArgument for one above the limit.
//
// Thread safety: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "msgs/image.hpp"
#include "nodes/base/result.hpp"
#include "nodes/imaging/image_target.hpp"
#include "nodes/imaging/orientation.hpp"
#include "nodes/imaging/size_limit.hpp"

namespace fovea::imaging {

enum class PictureFormat { kJpeg, kPng, kWebp, kBmp, kTiff, kPnm };

struct PictureInfo {
  PictureFormat format = PictureFormat::kJpeg;
  std::uint32_t width = 0;  // upright
  std::uint32_t height = 0;
  Orientation orientation = Orientation::kUpright;  // of the pixels as stored
};

struct PictureOptions {
  std::uint64_t max_pixels = kDefaultMaxPixels;
  // Off for cameras that send JPEGs without their end marker. All pixels must be there anyway.
  bool needs_end_marker = true;
};

// By the header and the length alone; decodes nothing.
Result<PictureInfo> inspect_picture(std::span<const std::byte> file,
                                    const PictureOptions& options = {});

// Decodes into `target` and returns the bytes that had to be copied because the decoder could not
// write there (0 for an upright picture). After an error the content of `target` is arbitrary.
// REQUIRES: `info` is inspect_picture()'s of the same bytes, `target` has its size.
Result<std::size_t> decode_picture(std::span<const std::byte> file, const PictureInfo& info,
                                   const ImageTarget& target, const PictureOptions& options = {});

// The bytes of a picture file, regular files only. Errors: read_file()'s; kCorrupt for an empty
// one. They name the path.
Result<std::vector<std::byte>> read_picture_file(const std::filesystem::path& path);

// A picture in memory as a JPEG file (4:2:0; grey stays grey), appended to nothing: `jpeg` is
// replaced. REQUIRES: quality 1..100. Errors: kInvalidArgument for an empty picture, one beyond
// JPEG's 65500 pixels a side or fewer pixels than step and height say.
struct Pixels {
  std::span<const std::byte> bytes;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::size_t step = 0;
  msgs::Encoding encoding = msgs::Encoding::kBgr8;
};
Result<> encode_jpeg(const Pixels& pixels, int quality, std::vector<std::byte>& jpeg);
// The same without loss. bgr8 only. Errors: kInvalidArgument as above; kInternal.
Result<> encode_png(const Pixels& pixels, std::vector<std::byte>& png);

}  // namespace fovea::imaging
