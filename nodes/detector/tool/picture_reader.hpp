// Picture files for calibration, verification and prediction, read by imaging/. A library of its own,
// fovea::picture_reader: whoever links it links OpenCV.
//
// Thread safety: any thread.
#pragma once

#include <cstdint>
#include <string>

#include "nodes/detector/accuracy/detection_pipeline.hpp"
#include "nodes/imaging/size_limit.hpp"

namespace fovea {

// Upright, as imaging/picture.hpp says. Errors: a PictureReader's, and kInvalidArgument for a
// picture of more than `max_pixels`, before it is decoded. They name the path.
Result<Picture> read_picture(const std::string& path,
                             std::uint64_t max_pixels = imaging::kDefaultMaxPixels);

}  // namespace fovea
