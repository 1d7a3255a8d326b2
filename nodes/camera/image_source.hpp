// A folder or glob of image files as a camera: what datasets, golden tests and accuracy runs read
// from.
//
// PNG and plain JPEG files decode straight into the destination, because their size can be read
// from the header; other formats, and JPEGs that may have to be turned (Exif), decode aside and are
// copied, which SourceCounters::bytes_copied shows. Thread safety: as FrameSource.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/camera/frame_source.hpp"

namespace fovea::frames {

// Order of people: `frame2.png` before `frame10.png`.
bool natural_less(std::string_view a, std::string_view b);

struct ImageSize {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
};

// Size by the file's header. nullopt unless `bytes` is a PNG, or a JPEG without Exif data; any
// bytes are safe.
std::optional<ImageSize> read_image_size(std::span<const std::uint8_t> bytes);

// Decodes an image file's bytes into `destination`; returns the bytes that had to be copied because
// the decoder could not write there. Errors: kCorrupt, also for a picture of another size.
Result<std::size_t> decode_image(std::span<const std::uint8_t> encoded,
                                 const ImageView& destination);

class ImageSource final : public FrameSource {
 public:
  // `pattern` is a folder (all files with an image's extension) or a glob.
  ImageSource(std::string name, std::string pattern, const SourceOptions& options);
  ~ImageSource() override;

 private:
  struct Scratch;  // a decoded image that could not go straight into the destination

  Result<SourceInfo> do_open(const std::stop_token& stop) override;
  void do_close() override;
  Result<Grab> advance(Nanoseconds timeout, const std::stop_token& stop) override;
  Result<std::size_t> convert(const ImageView& destination) override;
  Result<std::vector<std::string>> list_files() const;
  // Reads file `index` and finds its size; decodes into scratch_ if that takes decoding.
  Result<ImageSize> load(std::size_t index);

  std::string pattern_;
  std::vector<std::string> files_;
  std::size_t next_ = 0;
  std::size_t good_in_pass_ = 0;
  std::size_t bad_in_pass_ = 0;
  std::vector<std::uint8_t> encoded_;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace fovea::frames
