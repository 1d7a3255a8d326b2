// Picture files for the engine tool: a library of its own that the tool opens when it reads its
// first picture. OpenCV's codecs pull in over a hundred libraries, which cost every start 60 ms and
// 50 MB.
#include <cstdint>
#include <string>

#include "nodes/detector/tool/picture_reader.hpp"

// What engine_cli_images.cpp looks up.
extern "C" void fovea_read_picture(const std::string& path, std::uint64_t max_pixels,
                                   fovea::Result<fovea::Picture>& picture) {
  picture = fovea::read_picture(path, max_pixels);
}
