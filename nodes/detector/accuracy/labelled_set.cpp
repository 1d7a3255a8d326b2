// Strict: a wrong label would silently cost accuracy.
#include "nodes/detector/accuracy/labelled_set.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>
#include <sstream>
#include <system_error>
#include <utility>

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

// What a line must be, for messages.
std::string line_format(const LabelFormat& format, std::size_t classes) {
  const std::string start = fmt::format("a class 0..{} and ", classes - 1);
  switch (format.task) {
    case Task::kSegment:
      return start + "an outline of at least 3 corners, each x and y, fractions 0..1";
    case Task::kPose:
      return start + fmt::format(
                         "four fractions 0..1, then {} points, each x and y, 0..1, and "
                         "perhaps a visibility 0, 1 or 2",
                         format.points);
    case Task::kObb:
      return start + "four corners, each x and y, fractions 0..1";
    default:
      break;
  }
  return start + "four fractions 0..1";
}

bool are_fractions(std::span<const float> numbers) {
  return std::all_of(numbers.begin(), numbers.end(),
                     [](float number) { return number >= 0 && number <= 1; });
}

std::vector<Point> corners_of(std::span<const float> numbers) {
  std::vector<Point> corners;
  for (std::size_t i = 0; i + 1 < numbers.size(); i += 2) {
    corners.push_back({numbers[i], numbers[i + 1]});
  }
  return corners;
}

// Centre, width and height, then perhaps points. Whether the numbers are those.
bool read_box(std::span<const float> numbers, const LabelFormat& format, ScoredObject& object) {
  if (numbers.size() < 4 || !are_fractions(numbers.first(4))) return false;
  const float x = numbers[0];
  const float y = numbers[1];
  const float width = numbers[2];
  const float height = numbers[3];
  object.x1 = x - width / 2;
  object.y1 = y - height / 2;
  object.x2 = x + width / 2;
  object.y2 = y + height / 2;
  const auto rest = numbers.subspan(4);
  if (format.task != Task::kPose) return rest.empty();
  const std::size_t values = format.points == 0 ? 0 : rest.size() / format.points;
  if ((values != 2 && values != 3) || rest.size() != values * format.points) return false;
  for (std::size_t i = 0; i < rest.size(); i += values) {
    const float shown = values == 3 ? rest[i + 2] : 2;
    if (!are_fractions(rest.subspan(i, 2)) || (shown != 0 && shown != 1 && shown != 2)) {
      return false;
    }
    object.keypoints.push_back({rest[i], rest[i + 1], shown > 0 ? 1.0F : 0.0F});
  }
  return true;
}

bool read_outline(std::span<const float> numbers, const LabelFormat& format,
                  std::vector<Point>& outline) {
  const bool fits = format.task == Task::kObb ? numbers.size() == 8
                                              : numbers.size() >= 6 && numbers.size() % 2 == 0;
  if (!fits || !are_fractions(numbers)) return false;
  outline = corners_of(numbers);
  return true;
}

Result<> read_labels(const fs::path& file, const LabelFormat& format, std::size_t classes,
                     LabelledPicture& picture) {
  FOVEA_ASSIGN(const auto lines, read_lines(file));
  const bool outlined = format.task == Task::kSegment || format.task == Task::kObb;
  for (std::size_t number = 0; number < lines.size(); ++number) {
    if (lines[number].find_first_not_of(" \t") == std::string::npos) continue;
    std::istringstream text(lines[number]);
    std::int64_t class_id = -1;
    std::vector<float> numbers;
    text >> class_id;
    for (float value = 0; text >> value;) numbers.push_back(value);
    ScoredObject object;
    std::vector<Point> outline;
    const bool valid =
        text.eof() && class_id >= 0 && class_id < static_cast<std::int64_t>(classes) &&
        (outlined ? read_outline(numbers, format, outline) : read_box(numbers, format, object));
    if (!valid) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}:{}: label is '{}'; it must be {}", file.string(), number + 1,
                              shown(lines[number]), line_format(format, classes)));
    }
    object.class_id = static_cast<std::uint32_t>(class_id);
    picture.truth.objects.push_back(std::move(object));
    if (outlined) picture.outlines.push_back(std::move(outline));
  }
  return {};
}

// The box whose corners these four are; of another quadrilateral, one with its mean sides.
TurnedBox turned_box_of(std::span<const Point> corners) {
  const auto side = [&](std::size_t from, std::size_t to) {
    return std::hypot(corners[to].x - corners[from].x, corners[to].y - corners[from].y);
  };
  TurnedBox box;
  for (const Point& corner : corners) {
    box.center_x += corner.x / 4;
    box.center_y += corner.y / 4;
  }
  box.size_x = (side(0, 1) + side(3, 2)) / 2;
  box.size_y = (side(1, 2) + side(0, 3)) / 2;
  box.theta = std::atan2(corners[1].y - corners[0].y, corners[1].x - corners[0].x);
  return box;
}

void set_edges(std::span<const Point> outline, ScoredObject& object) {
  object.x1 = object.x2 = outline[0].x;
  object.y1 = object.y2 = outline[0].y;
  for (const Point& corner : outline) {
    object.x1 = std::min(object.x1, corner.x);
    object.x2 = std::max(object.x2, corner.x);
    object.y1 = std::min(object.y1, corner.y);
    object.y2 = std::max(object.y2, corner.y);
  }
}

std::vector<std::string> pictures_in(const fs::path& folder, std::error_code& error) {
  std::vector<std::string> pictures;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (imaging::is_picture_name(entry.path())) pictures.push_back(entry.path().string());
  }
  std::sort(pictures.begin(), pictures.end());
  return pictures;
}

// The class that a folder is named by: its name or its number.
Result<std::uint32_t> class_of(const fs::path& folder, const std::vector<std::string>& classes) {
  const std::string name = folder.filename().string();
  const auto found = std::find(classes.begin(), classes.end(), name);
  if (found != classes.end()) return static_cast<std::uint32_t>(found - classes.begin());
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error == std::errc() && end == name.data() + name.size() && number < classes.size()) {
    return number;
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: the folder is named '{}'; it must be one of the model's {} classes "
                          "or its number",
                          folder.string(), shown(name), classes.size()));
}

Result<LabelledSet> read_classified_set(const fs::path& folder, const LabelFormat& format) {
  LabelledSet set{folder.string(), format.classes, {}};
  for (const fs::path& inner : class_folders(folder)) {
    FOVEA_ASSIGN(const std::uint32_t class_id, class_of(inner, set.classes));
    std::error_code error;
    for (std::string& image : pictures_in(inner, error)) {
      set.pictures.push_back({std::move(image), {{}, {class_id}}});
    }
  }
  if (set.pictures.empty()) {
    return fail(ErrorCode::kNotFound,
                folder.string() + ": no folders with pictures there, named by class");
  }
  return set;
}

}  // namespace

LabelFormat label_format(const HeadSpec& head, std::vector<std::string> classes) {
  LabelFormat format{head.empty() ? Task::kDetect : head.task(), 0, std::move(classes)};
  const OutputMap* points = head.find(OutputRole::kKeypoints);
  if (points != nullptr && points->point_values > 0) {
    format.points = points->channels / points->point_values;
  }
  // A model may be silent about the names of its classes.
  if (format.classes.empty()) {
    for (std::uint32_t i = 0; i < head.classes(); ++i) format.classes.push_back(fmt::to_string(i));
  }
  return format;
}

Result<LabelledSet> read_labelled_set(const fs::path& folder, const LabelFormat& format) {
  if (format.task == Task::kClassify) return read_classified_set(folder, format);
  if (format.task == Task::kDepth) {
    return fail(ErrorCode::kUnsupported, "labels of depth are not read");
  }
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
    if (format.task == Task::kSemantic) {
      picture.label_picture = folder / "masks" / image.stem().concat(".png");
      if (!fs::exists(picture.label_picture, error)) {
        return fail(ErrorCode::kNotFound, fmt::format("{}: no picture of labels of {} there",
                                                      picture.label_picture, image.string()));
      }
    } else if (fs::exists(labels, error)) {
      FOVEA_TRY(read_labels(labels, format, set.classes.size(), picture));
    }
    set.pictures.push_back(std::move(picture));
  }
  return set;
}

Result<std::vector<std::string>> list_pictures(const fs::path& folder) {
  std::error_code error;
  const fs::path inner = folder / "images";
  const fs::path& where = fs::is_directory(inner, error) ? inner : folder;
  std::vector<std::string> pictures = pictures_in(where, error);
  if (pictures.empty()) {
    return fail(
        ErrorCode::kNotFound,
        where.string() + (error ? ": " + error.message()
                                : ": no pictures there (.jpg, .png, .bmp, .webp, .tif, .ppm)"));
  }
  return pictures;
}

bool has_labels(const fs::path& folder, Task task) {
  std::error_code error;
  if (task == Task::kClassify) return !class_folders(folder).empty();
  if (task == Task::kSemantic && !fs::is_directory(folder / "masks", error)) return false;
  return task != Task::kDepth && fs::exists(folder / "classes.txt", error);
}

std::vector<fs::path> class_folders(const fs::path& folder) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    std::error_code ignored;
    if (!entry.is_directory(ignored) || entry.path().filename() == "images") continue;
    if (!pictures_in(entry.path(), ignored).empty()) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

Answer truth_of(const LabelledPicture& labelled, Task task, std::uint32_t width,
                std::uint32_t height) {
  const auto across = static_cast<float>(width);
  const auto down = static_cast<float>(height);
  Answer truth = labelled.truth;
  for (std::size_t i = 0; i < truth.objects.size(); ++i) {
    ScoredObject& object = truth.objects[i];
    object.x1 *= across;
    object.x2 *= across;
    object.y1 *= down;
    object.y2 *= down;
    for (msgs::Keypoint2D& point : object.keypoints) {
      point.x *= across;
      point.y *= down;
    }
    if (task != Task::kSegment && task != Task::kObb) continue;
    std::vector<Point> outline = labelled.outlines[i];
    for (Point& corner : outline) corner = {corner.x * across, corner.y * down};
    set_edges(outline, object);
    if (task == Task::kSegment) {
      object.mask_runs = polygon_runs(outline, width, height);
    } else {
      object.turned = turned_box_of(outline);
    }
  }
  return truth;
}

}  // namespace fovea
