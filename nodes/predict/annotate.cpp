#include "nodes/predict/annotate.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "nodes/imaging/drawing.hpp"
#include "nodes/imaging/map_drawing.hpp"
#include "nodes/predict/skeleton.hpp"

namespace fovea::predict {

namespace {

constexpr std::size_t kMostLetters = 24;  // of a class's name in a picture

imaging::Rectangle rectangle_of(const Object& object) {
  return {object.box.x1, object.box.y1, object.box.x2, object.box.y2};
}

bool is_turned(const Object& object) { return object.corners.size() == 4; }

imaging::Corners corners_of(const Object& object) {
  imaging::Corners corners;
  std::transform(object.corners.begin(), object.corners.end(), corners.begin(),
                 [](const Point& point) {
                   return imaging::Point{point.x, point.y};
                 });
  return corners;
}

bool is_visible(const Keypoint& point) { return point.visibility >= kVisible; }

imaging::Point point_of(const Keypoint& point) { return {point.x, point.y}; }

// A name of which the font has no character gives way to the class's number.
std::string name_of(std::uint32_t class_id, const std::string& class_name) {
  const std::string name = imaging::writable_text(class_name);
  const bool is_readable =
      std::any_of(name.begin(), name.end(), [](char c) { return c != '?' && c != ' '; });
  std::string shown_name = is_readable ? name : fmt::format("class {}", class_id);
  if (shown_name.size() > kMostLetters)
    shown_name.replace(kMostLetters - 2, std::string::npos, "..");
  return shown_name;
}

void draw_mask(imaging::Drawing& drawing, const Object& object) {
  if (!object.mask.empty()) drawing.mask(object.mask, imaging::colour_of(object.class_id));
}

void draw_box(imaging::Drawing& drawing, const Object& object) {
  const imaging::Colour colour = imaging::colour_of(object.class_id);
  if (is_turned(object)) {
    drawing.turned_box(corners_of(object), colour);
  } else {
    drawing.box(rectangle_of(object), colour);
  }
}

void draw_skeleton(imaging::Drawing& drawing, const Object& object) {
  const std::vector<Keypoint>& points = object.keypoints;
  const Skeleton skeleton = skeleton_of(points.size());
  for (const Limb& limb : skeleton.limbs) {
    if (is_visible(points[limb.from]) && is_visible(points[limb.to])) {
      drawing.limb(point_of(points[limb.from]), point_of(points[limb.to]), colour_of(limb.part));
    }
  }
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!is_visible(points[i])) continue;
    drawing.joint(point_of(points[i]), skeleton.parts.empty()
                                           ? imaging::colour_of(static_cast<std::uint32_t>(i))
                                           : colour_of(skeleton.parts[i]));
  }
}

void draw_label(imaging::Drawing& drawing, const Object& object) {
  const imaging::Colour colour = imaging::colour_of(object.class_id);
  const std::string text =
      fmt::format("{} {:.2f}", name_of(object.class_id, object.class_name), object.score);
  if (is_turned(object)) {
    drawing.turned_label(corners_of(object), text, colour);
  } else {
    drawing.label(rectangle_of(object), text, colour);
  }
}

void draw_classes(imaging::Drawing& drawing, const Prediction& prediction) {
  std::vector<imaging::Bar> bars;
  for (const ClassScore& one : prediction.classes) {
    bars.push_back(
        {name_of(one.class_id, one.class_name), one.score, imaging::colour_of(one.class_id)});
  }
  drawing.panel(bars);
}

}  // namespace

void annotate(Picture& picture, const Prediction& prediction) {
  const imaging::ImageTarget target{picture.bgr.data(), picture.width, picture.height,
                                    std::size_t{3} * picture.width};
  const LabelMap& map = prediction.map;
  if (!map.labels.empty()) imaging::blend_labels(target, {map.labels, map.width, map.height});
  const DepthMap& depth = prediction.depth;
  if (!depth.values.empty())
    imaging::blend_depth(target, {depth.values, depth.width, depth.height});
  imaging::Drawing drawing(target);
  // What covers least comes last, and of each kind the best on top.
  for (const auto& draw : {draw_mask, draw_box, draw_skeleton}) {
    for (auto object = prediction.objects.rbegin(); object != prediction.objects.rend(); ++object) {
      draw(drawing, *object);
    }
  }
  // The best ones choose their places first.
  for (const Object& object : prediction.objects) draw_label(drawing, object);
  draw_classes(drawing, prediction);
}

}  // namespace fovea::predict
