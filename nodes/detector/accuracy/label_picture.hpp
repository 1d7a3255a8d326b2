// Labels of pixels as a picture: gray, a class number per pixel, 255 where there is none.
#pragma once

#include <cstddef>
#include <string>

#include "nodes/base/result.hpp"
#include "nodes/detector/accuracy/detection_pipeline.hpp"
#include "nodes/detector/accuracy/label_accuracy.hpp"

namespace fovea {

// Errors: the reader's; kInvalidArgument, naming the file, for a coloured picture or a class that there
// is not.
Result<LabelPicture> read_label_picture(const std::string& path, std::size_t classes,
                                        const PictureReader& reader);

}  // namespace fovea
