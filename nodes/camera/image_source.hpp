// A folder or glob of image files as a camera: what datasets, golden tests and accuracy runs read
// from.
//
// Upright pictures decode straight into the destination; turned ones decode aside and are copied,
// which SourceCounters::bytes_copied shows. A file that cannot be read is a bad frame that names
// it; the others go on. Thread safety: as FrameSource.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/camera/frame_source.hpp"
#include "nodes/imaging/picture.hpp"
#include "nodes/imaging/picture_name.hpp"

namespace fovea::frames {

using imaging::natural_less;

class ImageSource final : public FrameSource {
 public:
  // `pattern` is a folder (all files with an image's extension) or a glob.
  ImageSource(std::string name, std::string pattern, const SourceOptions& options);

  Result<> check_files() const override;
  std::string_view item() const override { return item_; }

 private:
  Result<SourceInfo> do_open(const std::stop_token& stop) override;
  void do_close() override;
  Result<Grab> advance(Nanoseconds timeout, const std::stop_token& stop) override;
  Result<std::size_t> convert(const ImageTarget& destination) override;
  Result<std::vector<std::string>> list_files() const;
  // Reads file `index` and its header.
  Result<> load(std::size_t index);

  std::string pattern_;
  std::vector<std::string> files_;
  std::size_t next_ = 0;
  std::size_t good_in_pass_ = 0;
  std::size_t bad_in_pass_ = 0;
  std::string item_;  // the newest file, which encoded_ and picture_ are of
  std::vector<std::byte> encoded_;
  imaging::PictureInfo picture_;
};

}  // namespace fovea::frames
