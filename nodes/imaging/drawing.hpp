// Marks on a picture for people to look at: boxes and labels with smooth edges, as large as the
// picture's size asks for.
//
//   Drawing drawing(target);
//   drawing.box(rectangle, colour);
//   drawing.label(rectangle, "person 0.93", colour);
//
// Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/imaging/image_target.hpp"

namespace fovea::imaging {

struct Colour {
  std::uint8_t red = 0;
  std::uint8_t green = 0;
  std::uint8_t blue = 0;

  bool operator==(const Colour&) const = default;
};

// One of 48 that are told apart: 16 bright ones, then the same paler and deeper; neighbours differ
// most.
Colour colour_of(std::uint32_t number);

// In pixels; (0, 0) is the outer corner of the first pixel. What lies outside the picture is not
// drawn.
struct Rectangle {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
};

// The text as the font can write it: a character that it does not have is a question mark.
std::string writable_text(std::string_view utf8);

class Drawing {
 public:
  // Draws into borrowed pixels. REQUIRES: they outlive it.
  explicit Drawing(const ImageTarget& picture);

  // The middle of the line is the box's edge.
  void box(const Rectangle& box, Colour colour);
  // One line of text on a ground of the box's colour: above the box, in it, below it or beside
  // it, where it lies in the picture and on no label before it, if there is such a place.
  void label(const Rectangle& box, std::string_view text, Colour colour);

  int line_width() const { return line_width_; }

 private:
  struct Area {
    int x, y, width, height;
  };
  Area place(const Rectangle& box, int width, int height) const;

  ImageTarget picture_;
  int line_width_;
  double letter_height_;      // of a capital, in pixels
  std::vector<Area> labels_;  // so far
};

}  // namespace fovea::imaging
