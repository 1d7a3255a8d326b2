// A folder of labelled pictures in YOLO's format: `images/`, `labels/NAME.txt` with one line per
// box (class number, centre x, centre y, width, height, the last four as fractions of the picture),
// `classes.txt` with one class name per line. Pictures without a label file have no boxes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nodes/base/result.hpp"
#include "nodes/detector/accuracy/accuracy.hpp"

namespace fovea {

struct LabelledPicture {
  std::string image;             // path
  std::vector<ScoredBox> boxes;  // edges as fractions of the picture
};

struct LabelledSet {
  std::string classes_file;
  std::vector<std::string> classes;
  std::vector<LabelledPicture> pictures;  // by name
};

// Does not open the pictures. Errors: kNotFound for a missing folder or no picture,
// kInvalidArgument with file and line for a label that makes no sense.
Result<LabelledSet> read_labelled_set(const std::filesystem::path& folder);

// Picture files of `folder`/images, or else of `folder` itself, by name. Errors: kNotFound if there
// are none.
Result<std::vector<std::string>> list_pictures(const std::filesystem::path& folder);

std::vector<ScoredBox> in_pixels(std::vector<ScoredBox> boxes, std::uint32_t width,
                                 std::uint32_t height);

}  // namespace fovea
