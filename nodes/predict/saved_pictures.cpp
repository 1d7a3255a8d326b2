#include "nodes/predict/saved_pictures.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <string_view>
#include <system_error>

#include <fmt/core.h>
#include <sys/stat.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"
#include "nodes/imaging/picture.hpp"

namespace fovea::predict {

namespace fs = std::filesystem;

namespace {

constexpr int kJpegQuality = 95;

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
  for (const fs::path& name : saved.names_) {
    if (saved.given_.has(folder / name)) return would_overwrite(folder / name);
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
    path /= fmt::format("{:06}.jpg", *frame);
  }
  if (given_.has(path)) return would_overwrite(path);
  const imaging::Pixels pixels{drawn.bgr, drawn.width, drawn.height, std::size_t{3} * drawn.width,
                               msgs::Encoding::kBgr8};
  std::vector<std::byte> file;
  const Result<> encoded = is_jpeg_name(path) ? imaging::encode_jpeg(pixels, kJpegQuality, file)
                                              : imaging::encode_png(pixels, file);
  if (!encoded) return fail(encoded.error().with_context(said(path.string())));
  FOVEA_TRY(write_file(path, file));
  return path.string();
}

}  // namespace fovea::predict
