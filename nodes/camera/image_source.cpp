// File listing and the pass over the files of image_source.hpp.
#include "nodes/camera/image_source.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include <fmt/core.h>
#include <glob.h>

#include "nodes/base/text.hpp"
#include "nodes/imaging/picture_name.hpp"

namespace fovea::frames {

namespace fs = std::filesystem;

namespace {

constexpr double kDefaultFps = 10;  // files have no rate of their own

}  // namespace

ImageSource::ImageSource(std::string name, std::string pattern, const SourceOptions& options)
    : FrameSource(std::move(name), options), pattern_(std::move(pattern)) {}

Result<std::vector<std::string>> ImageSource::list_files() const {
  std::vector<std::string> files;
  std::error_code error;
  if (fs::is_directory(pattern_, error)) {
    for (fs::directory_iterator entry(pattern_, error), end; !error && entry != end;
         entry.increment(error)) {
      std::error_code ignored;
      if (entry->is_regular_file(ignored) && imaging::is_picture_name(entry->path())) {
        files.push_back(entry->path().string());
      }
    }
    if (error) return fail_here(ErrorCode::kNotFound, error.message());
  } else {
    glob_t matches{};
    if (::glob(pattern_.c_str(), GLOB_NOSORT, nullptr, &matches) == 0) {
      for (std::size_t i = 0; i < matches.gl_pathc; ++i) {
        std::error_code ignored;
        if (fs::is_regular_file(matches.gl_pathv[i], ignored)) {
          files.emplace_back(matches.gl_pathv[i]);
        }
      }
    }
    ::globfree(&matches);
  }
  if (files.empty()) {
    return fail_here(ErrorCode::kNotFound,
                     "no image files there; it must be a folder with images or a glob such as "
                     "images:///data/*.png");
  }
  std::sort(files.begin(), files.end(), natural_less);
  return files;
}

Result<> ImageSource::check_files() const {
  FOVEA_TRY(list_files());
  return {};
}

Result<SourceInfo> ImageSource::do_open(const std::stop_token&) {
  FOVEA_ASSIGN(files_, list_files());
  SourceInfo info;
  info.fps = options().fps > 0 ? options().fps : kDefaultFps;
  info.loops = options().loop;
  info.frame_count = files_.size();
  info.duration = static_cast<double>(files_.size()) / info.fps;
  const auto first = static_cast<std::size_t>(std::llround(options().start_offset * info.fps));
  if (first >= files_.size()) {
    return fail_here(ErrorCode::kInvalidArgument,
                     fmt::format("start is {} s; it must be below the duration, {} s",
                                 options().start_offset, *info.duration));
  }
  // The first readable file tells the size; one that cannot be read is reported when its turn
  // comes.
  std::string reason;
  for (std::size_t i = first; i < files_.size(); ++i) {
    const auto loaded = load(i);
    if (loaded) {
      info.width = picture_.width;
      info.height = picture_.height;
      break;
    }
    reason = loaded.error().message;
  }
  if (info.width == 0) {
    return fail_here(ErrorCode::kCorrupt, fmt::format("none of {} images is readable; the last: {}",
                                                      files_.size() - first, reason));
  }
  next_ = first;
  return info;
}

void ImageSource::do_close() {
  files_.clear();
  encoded_.clear();
  item_.clear();
  next_ = good_in_pass_ = bad_in_pass_ = 0;
}

Result<> ImageSource::load(std::size_t index) {
  item_ = files_[index];
  FOVEA_ASSIGN(encoded_, imaging::read_picture_file(item_));
  const auto picture = imaging::inspect_picture(encoded_, {.max_pixels = options().max_pixels});
  if (!picture) return fail(picture.error().with_context(one_line(item_)));
  picture_ = *picture;
  return {};
}

Result<Grab> ImageSource::advance(Nanoseconds, const std::stop_token&) {
  if (next_ >= files_.size()) {
    if (good_in_pass_ == 0 && bad_in_pass_ > 0) {
      return fail_here(ErrorCode::kCorrupt,
                       fmt::format("none of {} images is readable any more", bad_in_pass_));
    }
    if (!options().loop) return Grab{.status = GrabStatus::kEndOfStream};
    next_ = good_in_pass_ = bad_in_pass_ = 0;
  }
  Grab grab;
  grab.frame.index = next_;
  if (const auto loaded = load(next_++); !loaded) {
    ++bad_in_pass_;
    grab.status = GrabStatus::kBadFrame;
    grab.detail = loaded.error().message;
    return grab;
  }
  ++good_in_pass_;
  grab.status = GrabStatus::kFrame;
  grab.frame.width = picture_.width;
  grab.frame.height = picture_.height;
  return grab;
}

Result<std::size_t> ImageSource::convert(const ImageTarget& destination) {
  auto copied = imaging::decode_picture(encoded_, picture_, destination);
  if (!copied) return fail(copied.error().with_context(one_line(item_)));
  return copied;
}

}  // namespace fovea::frames
