// Where a picture lands in the network's input: its scaled size, the border around it or what is
// cut off. Pure function; rounds as the models' training did.
#pragma once

#include <cstdint>

#include "msgs/tensor.hpp"
#include "nodes/base/input_spec.hpp"

namespace fovea {

// kLetterbox: as Ultralytics' LetterBox, centred, scaling up allowed; a very narrow picture keeps
// one pixel. kLetterboxTopLeft: as YOLOX's, at the upper left corner, its scaled sides cut down to
// whole pixels. kCentreCrop: as torchvision's Resize of the shorter side and CenterCrop; an input that
// is not square gets the whole picture, stretched, as Ultralytics' classifiers do.
// REQUIRES: sides of 1..2^15; an enumerator.
msgs::LetterboxTransform place(ResizeMode resize, std::uint32_t source_width,
                               std::uint32_t source_height, std::uint32_t network_width,
                               std::uint32_t network_height);

}  // namespace fovea
