// File listing, header reading and decoding of image_source.hpp.
#include "nodes/camera/image_source.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <glob.h>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>

namespace fovea::frames {

namespace fs = std::filesystem;

namespace {

constexpr double kDefaultFps = 10;  // files have no rate of their own
constexpr std::array<std::string_view, 12> kExtensions{".png", ".jpg", ".jpeg", ".jpe",
                                                       ".bmp", ".dib", ".ppm",  ".pgm",
                                                       ".pbm", ".tif", ".tiff", ".webp"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool has_image_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

std::uint32_t big_endian(std::span<const std::uint8_t> bytes, std::size_t at, int count) {
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | bytes[at + static_cast<std::size_t>(i)];
  return value;
}

std::optional<ImageSize> read_png_size(std::span<const std::uint8_t> bytes) {
  constexpr std::array<std::uint8_t, 8> kSignature{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  if (bytes.size() < 24 || !std::equal(kSignature.begin(), kSignature.end(), bytes.begin()) ||
      std::memcmp(bytes.data() + 12, "IHDR", 4) != 0) {
    return std::nullopt;
  }
  return ImageSize{big_endian(bytes, 16, 4), big_endian(bytes, 20, 4)};
}

// Walks the marker segments up to the frame header (ITU T.81, B.2.2).
std::optional<ImageSize> read_jpeg_size(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < 4 || bytes[0] != 0xff || bytes[1] != 0xd8) return std::nullopt;
  std::size_t at = 2;
  while (at + 9 <= bytes.size()) {
    if (bytes[at] != 0xff) return std::nullopt;
    const std::uint8_t marker = bytes[at + 1];
    if (marker == 0xff) {  // fill byte
      ++at;
      continue;
    }
    const bool is_exif = marker == 0xe1 && std::memcmp(bytes.data() + at + 4, "Exif", 4) == 0;
    if (is_exif || marker == 0xd9 || marker == 0xda) return std::nullopt;
    const bool is_frame =
        marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (is_frame) return ImageSize{big_endian(bytes, at + 7, 2), big_endian(bytes, at + 5, 2)};
    at += 2 + big_endian(bytes, at + 2, 2);
  }
  return std::nullopt;
}

// Decodes into `target`, which OpenCV leaves in place if it has the right size already.
Result<> decode(std::span<const std::uint8_t> encoded, cv::Mat& target) {
  const cv::Mat bytes(1, static_cast<int>(encoded.size()), CV_8UC1,
                      const_cast<std::uint8_t*>(encoded.data()));
  try {
    if (cv::imdecode(bytes, cv::IMREAD_COLOR, &target).empty()) {
      return fail(ErrorCode::kCorrupt, "is no image that can be decoded");
    }
  } catch (const cv::Exception& error) {
    return fail(ErrorCode::kCorrupt, fmt::format("cannot be decoded: {}", error.err));
  }
  return {};
}

cv::Mat view(const ImageView& destination) {
  return cv::Mat(static_cast<int>(destination.height), static_cast<int>(destination.width), CV_8UC3,
                 destination.data, destination.step);
}

// Leaves `image` in `destination`; returns the bytes that took copying.
Result<std::size_t> place(const cv::Mat& image, const ImageView& destination) {
  cv::Mat target = view(destination);
  if (image.data == target.data) return std::size_t{0};
  if (image.size() != target.size() || image.type() != target.type()) {
    return fail(ErrorCode::kCorrupt, fmt::format("is {}x{}, not {}x{} as its header says",
                                                 image.cols, image.rows, target.cols, target.rows));
  }
  image.copyTo(target);
  return frame_bytes({.width = destination.width, .height = destination.height});
}

}  // namespace

Result<std::size_t> decode_image(std::span<const std::uint8_t> encoded,
                                 const ImageView& destination) {
  cv::Mat image = view(destination);
  FOVEA_TRY(decode(encoded, image));
  return place(image, destination);
}

struct ImageSource::Scratch {
  cv::Mat image;
};

bool natural_less(std::string_view a, std::string_view b) {
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i;
      ++j;
      continue;
    }
    const auto number = [](std::string_view text, std::size_t& at) {
      while (at < text.size() && text[at] == '0') ++at;
      const std::size_t start = at;
      while (at < text.size() && is_digit(text[at])) ++at;
      return text.substr(start, at - start);
    };
    const std::string_view left = number(a, i);
    const std::string_view right = number(b, j);
    if (left.size() != right.size()) return left.size() < right.size();
    if (left != right) return left < right;
  }
  const std::size_t rest_a = a.size() - i;
  const std::size_t rest_b = b.size() - j;
  return rest_a != rest_b ? rest_a < rest_b : a < b;  // `01` and `1` differ by their text
}

std::optional<ImageSize> read_image_size(std::span<const std::uint8_t> bytes) {
  auto size = read_png_size(bytes);
  if (!size) size = read_jpeg_size(bytes);
  if (size && (size->width == 0 || size->height == 0)) return std::nullopt;
  return size;
}

ImageSource::ImageSource(std::string name, std::string pattern, const SourceOptions& options)
    : FrameSource(std::move(name), options), pattern_(std::move(pattern)) {}

ImageSource::~ImageSource() = default;

Result<std::vector<std::string>> ImageSource::list_files() const {
  std::vector<std::string> files;
  std::error_code error;
  if (fs::is_directory(pattern_, error)) {
    for (fs::directory_iterator entry(pattern_, error), end; !error && entry != end;
         entry.increment(error)) {
      std::error_code ignored;
      if (entry->is_regular_file(ignored) && has_image_extension(entry->path())) {
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
    const auto size = load(i);
    if (size) {
      info.width = size->width;
      info.height = size->height;
      break;
    }
    reason = size.error().message;
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
  scratch_.reset();
  next_ = good_in_pass_ = bad_in_pass_ = 0;
}

Result<ImageSize> ImageSource::load(std::size_t index) {
  const std::string& path = files_[index];
  scratch_.reset();
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail_errno(ErrorCode::kNotFound, fmt::format("open {}", path));
  encoded_.assign(std::istreambuf_iterator<char>(file), {});
  if (encoded_.empty()) return fail(ErrorCode::kCorrupt, fmt::format("{}: is empty", path));
  if (const auto size = read_image_size(encoded_)) return *size;
  auto scratch = std::make_unique<Scratch>();
  if (auto decoded = decode(encoded_, scratch->image); !decoded) {
    return fail(decoded.error().with_context(path));
  }
  scratch_ = std::move(scratch);
  return ImageSize{static_cast<std::uint32_t>(scratch_->image.cols),
                   static_cast<std::uint32_t>(scratch_->image.rows)};
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
  const auto size = load(next_++);
  if (!size) {
    ++bad_in_pass_;
    grab.status = GrabStatus::kBadFrame;
    grab.detail = size.error().message;
    return grab;
  }
  ++good_in_pass_;
  grab.status = GrabStatus::kFrame;
  grab.frame.width = size->width;
  grab.frame.height = size->height;
  return grab;
}

Result<std::size_t> ImageSource::convert(const ImageView& destination) {
  auto copied =
      scratch_ ? place(scratch_->image, destination) : decode_image(encoded_, destination);
  if (!copied) return fail(copied.error().with_context(files_[next_ - 1]));
  return copied;
}

}  // namespace fovea::frames
