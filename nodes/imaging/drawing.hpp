// Marks on a picture for people to look at: masks, boxes, skeletons and labels with smooth edges, as
// large as the picture's size asks for.
//
//   Drawing drawing(target);
//   drawing.box(rectangle, colour);
//   drawing.label(rectangle, "person 0.93", colour);
//
// What lies outside the picture is not drawn, however far away it is; a mark with a coordinate that
// is infinite or no number is not drawn at all.
//
// Thread safety: one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/imaging/colour.hpp"
#include "nodes/imaging/cover.hpp"
#include "nodes/imaging/image_target.hpp"
#include "nodes/imaging/run_lengths.hpp"

namespace fovea::imaging {

// In pixels; (0, 0) is the outer corner of the first pixel.
struct Point {
  float x = 0;
  float y = 0;
};

struct Rectangle {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
};

// Of a turned box, one after the other.
using Corners = std::array<Point, 4>;

// A row of a panel.
struct Bar {
  std::string text;
  float share = 0;  // 0..1
  Colour colour;
};

class Drawing {
 public:
  // Draws into borrowed pixels. REQUIRES: they outlive it.
  explicit Drawing(const ImageTarget& picture);

  // Tints the object's pixels and draws a line along their edge. False, and nothing is drawn, for
  // run lengths that are not of the picture's size.
  bool mask(RunLengths runs, Colour colour);
  // The middle of the line is the box's edge.
  void box(const Rectangle& box, Colour colour);
  void turned_box(const Corners& corners, Colour colour);
  // Of a skeleton.
  void limb(Point from, Point to, Colour colour);
  void joint(Point point, Colour colour);
  // One line of text on a ground of the box's colour: above the box, in it, below it or beside
  // it, where it lies in the picture and on no label before it, if there is such a place.
  void label(const Rectangle& box, std::string_view text, Colour colour);
  // The same at the uppermost corner.
  void turned_label(const Corners& corners, std::string_view text, Colour colour);
  // Rows of text, each with its share as a number and as a bar, in the upper left corner.
  void panel(std::span<const Bar> bars);

  int line_width() const { return line_width_; }

 private:
  struct Area {
    int x, y, width, height;
  };
  void line(Point from, Point to, Colour colour, int width);
  Area place(const Rectangle& box, int width, int height) const;
  void label_on(const Rectangle& box, const Cover& letters, Colour colour);

  ImageTarget picture_;
  int line_width_;
  double letter_height_;      // of a capital, in pixels
  std::vector<Area> labels_;  // so far
};

}  // namespace fovea::imaging
