#include "nodes/predict/inputs.hpp"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"
#include "nodes/imaging/picture_name.hpp"

namespace fovea::predict {

namespace fs = std::filesystem;

namespace {

Result<std::vector<std::string>> pictures_of(const fs::path& folder) {
  std::vector<std::string> pictures;
  std::size_t videos = 0;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (!entry->is_regular_file(ignored)) continue;
    if (imaging::is_picture_name(entry->path())) pictures.push_back(entry->path().string());
    if (imaging::is_video_name(entry->path())) ++videos;
  }
  const std::string name = said(folder.string());
  if (error) return fail(ErrorCode::kNotFound, fmt::format("{}: {}", name, error.message()));
  if (pictures.empty()) {
    const char* hint = videos > 0 ? "; its videos are read when they are named themselves" : "";
    return fail(ErrorCode::kNotFound,
                fmt::format("{}: no pictures there ({}){}", name,
                            fmt::join(imaging::kPictureExtensions, ", "), hint));
  }
  std::sort(pictures.begin(), pictures.end(), imaging::natural_less);
  return pictures;
}

Result<std::vector<std::string>> files_of(const std::string& word) {
  std::error_code error;
  if (fs::is_directory(word, error)) return pictures_of(word);
  if (word.find("://") != std::string::npos && !fs::exists(word, error)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: pictures, folders and video files are read here; `fovea launch "
                            "one_camera video:=ADDRESS` takes cameras and streams",
                            said(word)));
  }
  FOVEA_TRY(check_readable(word));
  return std::vector<std::string>{word};
}

}  // namespace

Inputs collect_inputs(std::span<const std::string> words) {
  Inputs inputs;
  std::set<fs::path> seen;
  for (const std::string& word : words) {
    auto files = files_of(word);
    if (!files) {
      inputs.problems.push_back({word, std::move(files).error()});
      continue;
    }
    for (std::string& file : *files) {
      std::error_code error;
      if (!seen.insert(fs::weakly_canonical(file, error)).second) continue;
      const bool is_video = imaging::is_video_name(file);
      inputs.files.push_back({std::move(file), is_video});
    }
  }
  return inputs;
}

}  // namespace fovea::predict
