// Strict: a wrong label would silently cost accuracy.
#include "nodes/detector/accuracy/labelled_set.hpp"

#include <algorithm>
#include <sstream>
#include <system_error>

#include <fmt/core.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"
#include "nodes/imaging/picture_name.hpp"

namespace fovea {

namespace {

namespace fs = std::filesystem;

Result<std::vector<std::string>> read_lines(const fs::path& file) {
  FOVEA_ASSIGN(const std::string text, read_text_file(file));
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(line);
  }
  return lines;
}

Result<std::vector<ScoredBox>> read_boxes(const fs::path& file, std::size_t classes) {
  FOVEA_ASSIGN(const auto lines, read_lines(file));
  std::vector<ScoredBox> boxes;
  for (std::size_t number = 0; number < lines.size(); ++number) {
    if (lines[number].find_first_not_of(" \t") == std::string::npos) continue;
    std::istringstream text(lines[number]);
    std::int64_t class_id = 0;
    float x = 0;
    float y = 0;
    float width = 0;
    float height = 0;
    std::string rest;
    const bool complete = static_cast<bool>(text >> class_id >> x >> y >> width >> height);
    const auto fraction = [](float value) { return value >= 0 && value <= 1; };
    if (!complete || (text >> rest) || class_id < 0 ||
        class_id >= static_cast<std::int64_t>(classes) || !fraction(x) || !fraction(y) ||
        !fraction(width) || !fraction(height)) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{}:{}: label is '{}'; it must be a class 0..{} and four fractions 0..1",
                      file.string(), number + 1, shown(lines[number]), classes - 1));
    }
    boxes.push_back({x - width / 2, y - height / 2, x + width / 2, y + height / 2, 0,
                     static_cast<std::uint32_t>(class_id)});
  }
  return boxes;
}

}  // namespace

Result<LabelledSet> read_labelled_set(const fs::path& folder) {
  LabelledSet set;
  set.classes_file = (folder / "classes.txt").string();
  FOVEA_ASSIGN(set.classes, read_lines(set.classes_file));
  std::erase(set.classes, std::string());
  if (set.classes.empty())
    return fail(ErrorCode::kInvalidArgument, set.classes_file + ": no class names");

  FOVEA_ASSIGN(const auto images, list_pictures(folder));
  std::error_code error;
  for (const std::string& file : images) {
    const fs::path image = file;
    LabelledPicture picture{image.string(), {}};
    const fs::path labels = folder / "labels" / image.stem().concat(".txt");
    if (fs::exists(labels, error)) {
      FOVEA_ASSIGN(picture.boxes, read_boxes(labels, set.classes.size()));
    }
    set.pictures.push_back(std::move(picture));
  }
  return set;
}

Result<std::vector<std::string>> list_pictures(const fs::path& folder) {
  std::error_code error;
  const fs::path inner = folder / "images";
  const fs::path& where = fs::is_directory(inner, error) ? inner : folder;
  std::vector<std::string> pictures;
  for (const auto& entry : fs::directory_iterator(where, error)) {
    if (imaging::is_picture_name(entry.path())) pictures.push_back(entry.path().string());
  }
  if (pictures.empty()) {
    return fail(
        ErrorCode::kNotFound,
        where.string() + (error ? ": " + error.message()
                                : ": no pictures there (.jpg, .png, .bmp, .webp, .tif, .ppm)"));
  }
  std::sort(pictures.begin(), pictures.end());
  return pictures;
}

std::vector<ScoredBox> in_pixels(std::vector<ScoredBox> boxes, std::uint32_t width,
                                 std::uint32_t height) {
  for (ScoredBox& box : boxes) {
    box.x1 *= static_cast<float>(width);
    box.x2 *= static_cast<float>(width);
    box.y1 *= static_cast<float>(height);
    box.y2 *= static_cast<float>(height);
  }
  return boxes;
}

}  // namespace fovea
