#include "nodes/predict/annotate.hpp"

#include <algorithm>
#include <cstddef>
#include <string>

#include <fmt/core.h>

#include "nodes/imaging/drawing.hpp"

namespace fovea::predict {

namespace {

constexpr std::size_t kMostLetters = 24;  // of a class's name in a picture

imaging::Rectangle rectangle_of(const Object& object) {
  return {object.box.x1, object.box.y1, object.box.x2, object.box.y2};
}

// "person 0.93"; a name of which the font has no character gives way to the class's number.
std::string label_of(const Object& object) {
  const std::string name = imaging::writable_text(object.class_name);
  const bool is_readable =
      std::any_of(name.begin(), name.end(), [](char c) { return c != '?' && c != ' '; });
  std::string shown_name = is_readable ? name : fmt::format("class {}", object.class_id);
  if (shown_name.size() > kMostLetters)
    shown_name.replace(kMostLetters - 2, std::string::npos, "..");
  return fmt::format("{} {:.2f}", shown_name, object.score);
}

// The best on top.
void draw_boxes(imaging::Drawing& drawing, const Prediction& prediction) {
  for (auto object = prediction.objects.rbegin(); object != prediction.objects.rend(); ++object) {
    drawing.box(rectangle_of(*object), imaging::colour_of(object->class_id));
  }
}

// Above all other marks; the best ones choose their places first.
void draw_labels(imaging::Drawing& drawing, const Prediction& prediction) {
  for (const Object& object : prediction.objects) {
    drawing.label(rectangle_of(object), label_of(object), imaging::colour_of(object.class_id));
  }
}

}  // namespace

void annotate(Picture& picture, const Prediction& prediction) {
  imaging::Drawing drawing(
      {picture.bgr.data(), picture.width, picture.height, std::size_t{3} * picture.width});
  draw_boxes(drawing, prediction);
  draw_labels(drawing, prediction);
}

}  // namespace fovea::predict
