// How much of each pixel a mark takes: letters, masks and grounds are covers, blended into a picture
// in one colour.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/imaging/colour.hpp"
#include "nodes/imaging/image_target.hpp"

namespace fovea::imaging {

// [height, width] u8, rows dense; 255 takes all of a pixel.
struct Cover {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> share{};
};

// Its upper left pixel at (x, y); what lies outside the picture is not drawn.
void blend(const ImageTarget& picture, int x, int y, const Cover& cover, Colour colour);

// A rectangle with round corners that takes `share` of what is below it.
// REQUIRES: width and height > 0.
Cover rounded_ground(int width, int height, int radius, std::uint8_t share = 255);

// The text as the font can write it: a character that it does not have is a question mark.
std::string writable_text(std::string_view utf8);

// One line of writable text whose capitals are `letter_height` pixels high.
Cover written(std::string_view text, double letter_height);
// Its width; draws nothing.
int width_written(std::string_view text, double letter_height);

}  // namespace fovea::imaging
