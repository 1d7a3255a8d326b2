// A folder of labelled pictures as Ultralytics writes them.
//
// Of tasks that find objects: `images/`, `labels/NAME.txt` with one line per object, `classes.txt`
// with one class name per line. Pictures without a label file have no objects. All numbers of a line
// but the class are fractions of the picture:
//   detect   class, centre x, centre y, width, height
//   segment  class, then x and y of at least three corners of the outline
//   pose     the same as detect, then x and y of each point, perhaps with its visibility: 0 not
//            labelled, 1 hidden, 2 seen
//   obb      class, then x and y of the four corners
// Of a classifier: pictures in folders that are named by class, or by its number.
// Of semantic maps: `images/`, `masks/NAME.png` (see label_picture.hpp), `classes.txt`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nodes/base/head_spec.hpp"
#include "nodes/base/result.hpp"
#include "nodes/detector/accuracy/polygon_runs.hpp"
#include "nodes/detector/accuracy/task_accuracy.hpp"

namespace fovea {

// What labels must look like for a model.
struct LabelFormat {
  Task task = Task::kDetect;
  std::size_t points = 0;            // kPose
  std::vector<std::string> classes;  // kClassify: the model's, perhaps none
};
LabelFormat label_format(const HeadSpec& head, std::vector<std::string> classes);

struct LabelledPicture {
  std::string image;  // path
  Answer truth;       // edges and keypoints as fractions of the picture
  // kSegment, kObb: corners by object, as fractions; its mask or turned box, and its edges, follow.
  std::vector<std::vector<Point>> outlines = {};
  std::string label_picture = {};  // kSemantic: path
};

struct LabelledSet {
  std::string classes_file;  // or the folder, of a classifier
  std::vector<std::string> classes;
  std::vector<LabelledPicture> pictures;  // by name
};

// Does not open the pictures. Errors: kNotFound for a missing folder or no picture,
// kInvalidArgument with file and line for a label that makes no sense or is another task's.
Result<LabelledSet> read_labelled_set(const std::filesystem::path& folder,
                                      const LabelFormat& format = {});

// Picture files of `folder`/images, or else of `folder` itself, by name. Errors: kNotFound if there
// are none.
Result<std::vector<std::string>> list_pictures(const std::filesystem::path& folder);

// Whether there are labels of that task.
bool has_labels(const std::filesystem::path& folder, Task task);

// Folders within `folder` that hold pictures, but `images`: a classifier's labels. By name.
std::vector<std::filesystem::path> class_folders(const std::filesystem::path& folder);

// The truth in pixels of a picture of that size.
Answer truth_of(const LabelledPicture& labelled, Task task, std::uint32_t width,
                std::uint32_t height);

}  // namespace fovea
