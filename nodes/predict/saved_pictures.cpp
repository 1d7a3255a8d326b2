#include "nodes/predict/saved_pictures.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <map>
#include <string_view>
#include <system_error>

#include <fmt/core.h>
#include <sys/stat.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"
#include "nodes/imaging/picture.hpp"
#include "nodes/imaging/picture_note.hpp"

namespace fovea::predict {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kFrameDigits = 6;
constexpr int kJpegQuality = 95;
constexpr std::string_view kNote = "drawn by fovea predict";

bool is_jpeg_name(const fs::path& path) {
  constexpr std::array<std::string_view, 4> kExtensions{".jpg", ".jpeg", ".jpe", ".jfif"};
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

// What a lossy picture was drawn into may be lossy, too; anything else is kept as it is.
fs::path plain_name(const Input& input) {
  const fs::path name = fs::path(input.path).filename();
  if (input.is_video) {
    const fs::path stem = name.stem();
    return stem == "." || stem == ".." ? fs::path("video") : stem;  // of `...avi`
  }
  return is_jpeg_name(name) ? name : fs::path(name).replace_extension(".png");
}

tl::unexpected<Error> would_overwrite(const fs::path& path) {
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("{} would be written over, and it is one of the files given; name another "
                  "folder",
                  said(path.string())));
}

// Pictures of an earlier run may be replaced; nothing else may, for a copy of it may not exist.
// Errors: kInvalidArgument for what is there and was not drawn here.
Result<> check_replaceable(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) return {};
  if (fs::is_regular_file(status)) {
    std::vector<char> head(imaging::kNoteBytes);
    std::ifstream file(path, std::ios::binary);
    file.read(head.data(), static_cast<std::streamsize>(head.size()));
    head.resize(static_cast<std::size_t>(file.gcount()));
    if (imaging::has_note(std::as_bytes(std::span(head)), kNote)) return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} is there already, and fovea predict did not draw it; name another "
                          "folder",
                          said(path.string())));
}

bool is_frame_name(const fs::path& name) {
  const std::string stem = name.stem().string();
  return name.extension() == ".jpg" && stem.size() >= kFrameDigits &&
         std::all_of(stem.begin(), stem.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Result<> check_frames(const fs::path& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (fs::exists(status) && !fs::is_directory(status)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is no folder, and a video's frames go there; name another folder",
                            said(folder.string())));
  }
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (is_frame_name(entry.path().filename())) FOVEA_TRY(check_replaceable(entry.path()));
  }
  return {};
}

}  // namespace

std::vector<fs::path> saved_names(std::span<const Input> inputs) {
  std::map<fs::path, std::size_t> uses;
  for (const Input& input : inputs) ++uses[plain_name(input)];
  std::set<fs::path> taken;
  std::vector<fs::path> names;
  for (const Input& input : inputs) {
    fs::path name = plain_name(input);
    if (uses[name] > 1) {
      const fs::path folder = fs::absolute(input.path).lexically_normal().parent_path().filename();
      if (!folder.empty()) name = folder.string() + "-" + name.string();
    }
    const fs::path first = name;
    for (int number = 2; !taken.insert(name).second; ++number) {
      name = fmt::format("{}-{}{}", first.stem().string(), number, first.extension().string());
    }
    names.push_back(std::move(name));
  }
  return names;
}

void ProtectedFiles::add(const fs::path& path) {
  struct ::stat status {};
  if (::stat(path.c_str(), &status) == 0) ids_.emplace(status.st_dev, status.st_ino);
}

bool ProtectedFiles::has(const fs::path& path) const {
  struct ::stat status {};
  return ::stat(path.c_str(), &status) == 0 && ids_.contains({status.st_dev, status.st_ino});
}

SavedPictures::SavedPictures(fs::path folder, std::vector<fs::path> names, ProtectedFiles given)
    : folder_(std::move(folder)), names_(std::move(names)), given_(std::move(given)) {}

Result<SavedPictures> SavedPictures::create(const fs::path& folder, std::span<const Input> inputs,
                                            ProtectedFiles given) {
  SavedPictures saved(folder, saved_names(inputs), std::move(given));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const fs::path path = folder / saved.names_[i];
    if (saved.given_.has(path)) return would_overwrite(path);
    FOVEA_TRY(inputs[i].is_video ? check_frames(path) : check_replaceable(path));
  }
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder)) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: {}", said(folder.string()), error ? error.message() : "it is no folder"));
  }
  FOVEA_TRY(check_writable(folder / ".fovea-predict"));
  return saved;
}

Result<std::string> SavedPictures::save(std::size_t input, std::optional<std::uint64_t> frame,
                                        const Picture& drawn) const {
  fs::path path = folder_ / names_[input];
  if (frame) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error) {
      return fail(ErrorCode::kInternal,
                  fmt::format("{}: {}", said(path.string()), error.message()));
    }
    path /= fmt::format("{:0{}}.jpg", *frame, kFrameDigits);
  }
  if (given_.has(path)) return would_overwrite(path);
  FOVEA_TRY(check_replaceable(path));
  const imaging::Pixels pixels{drawn.bgr, drawn.width, drawn.height, std::size_t{3} * drawn.width,
                               msgs::Encoding::kBgr8};
  std::vector<std::byte> file;
  const Result<> encoded = is_jpeg_name(path) ? imaging::encode_jpeg(pixels, kJpegQuality, file)
                                              : imaging::encode_png(pixels, file);
  if (!encoded) return fail(encoded.error().with_context(said(path.string())));
  imaging::add_note(file, kNote);
  FOVEA_TRY(write_trusted_file(path, file));  // a link is replaced, not written through
  return path.string();
}

}  // namespace fovea::predict
