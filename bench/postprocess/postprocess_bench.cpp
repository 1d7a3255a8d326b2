// Raw maps to detections: Postprocessor against the usual OpenCV route (transpose, minMaxLoc,
// NMSBoxes) and against a plain loop, all on one thread.
//
// One synthetic scene for all: 640x640, 80 classes, 8400 anchors, 60 objects of 15 candidates each,
// noise elsewhere. It exists as raw maps; `output0` is computed from them beforehand, so the
// raw-map route does the DFL and sigmoid that the others are given for free. Everybody has the same
// limits on candidates and detections, and the bench fails unless everybody finds the same number
// of detections.
#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <span>
#include <stdexcept>
#include <vector>

#include <opencv2/core.hpp>
#include <opencv2/dnn.hpp>

#include "bench/compare.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/postprocess/postprocessor.hpp"

namespace {

using fovea::Candidate;
using fovea::HeadTensor;
using fovea::PostprocessOptions;
using fovea::Postprocessor;

constexpr std::size_t kClasses = 80;
constexpr std::size_t kAnchors = 8400;
constexpr std::size_t kBins = 16;
constexpr std::size_t kLevels = 3;
constexpr std::array<std::size_t, kLevels> kStrides{8, 16, 32};
constexpr std::size_t kSide = 640;

struct Level {
  std::size_t side;  // cells
  std::vector<float> box, cls;
  std::array<std::int64_t, 3> box_dims, cls_dims;
};

struct Scene {
  std::array<Level, kLevels> levels;
  std::vector<float> output0 = std::vector<float>((4 + kClasses) * kAnchors);
  float& at(std::size_t field, std::size_t anchor) { return output0[field * kAnchors + anchor]; }
};

float distance(const float* logits) {
  float sum = 0, weighted = 0;
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    const float weight = std::exp(logits[bin]);
    sum += weight;
    weighted += weight * static_cast<float>(bin);
  }
  return weighted / sum;
}

void set_distance(float* logits, float cells) {
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    logits[bin] = -3 * std::abs(static_cast<float>(bin) - cells);
  }
}

float logit(float score) { return std::log(score / (1 - score)); }

Scene make_scene() {
  Scene scene;
  std::mt19937 random(1);
  std::uniform_real_distribution<float> noise(0.002f, 0.05f), score(0.3f, 0.9f), cells(1, 4),
      jitter(-0.2f, 0.2f);
  for (std::size_t l = 0; l < kLevels; ++l) {
    Level& level = scene.levels[l];
    level.side = kSide / kStrides[l];
    const auto side = static_cast<std::int64_t>(level.side);
    level.box_dims = {side, side, 4 * kBins};
    level.cls_dims = {side, side, kClasses};
    level.box.resize(level.side * level.side * 4 * kBins);
    level.cls.resize(level.side * level.side * kClasses);
    for (std::size_t i = 0; i < level.box.size(); i += kBins)
      set_distance(&level.box[i], cells(random));
    for (float& value : level.cls) value = logit(noise(random));
  }
  // An object covers 3 x 5 cells of a level, all of which see about the same box.
  for (std::size_t object = 0; object < 60; ++object) {
    Level& level = scene.levels[object % kLevels];
    const std::size_t column = 4 + random() % (level.side - 9);
    const std::size_t row = 4 + random() % (level.side - 9);
    for (std::size_t i = 0; i < 15; ++i) {
      const std::size_t dx = i % 3, dy = i / 3;
      const std::size_t cell = (row + dy) * level.side + column + dx;
      float* sides = &level.box[cell * 4 * kBins];
      set_distance(sides, static_cast<float>(dx) + 2 + jitter(random));
      set_distance(sides + kBins, static_cast<float>(dy) + 2 + jitter(random));
      set_distance(sides + 2 * kBins, 4 - static_cast<float>(dx) + jitter(random));
      set_distance(sides + 3 * kBins, 6 - static_cast<float>(dy) + jitter(random));
      level.cls[cell * kClasses + object] = logit(score(random));
    }
  }
  std::size_t anchor = 0;
  for (std::size_t l = 0; l < kLevels; ++l) {
    const Level& level = scene.levels[l];
    const auto stride = static_cast<float>(kStrides[l]);
    for (std::size_t cell = 0; cell < level.side * level.side; ++cell, ++anchor) {
      const float* sides = &level.box[cell * 4 * kBins];
      const float x = static_cast<float>(cell % level.side) + 0.5f;
      const float y = static_cast<float>(cell / level.side) + 0.5f;
      const float x1 = x - distance(sides), y1 = y - distance(sides + kBins);
      const float x2 = x + distance(sides + 2 * kBins), y2 = y + distance(sides + 3 * kBins);
      scene.at(0, anchor) = (x1 + x2) / 2 * stride;
      scene.at(1, anchor) = (y1 + y2) / 2 * stride;
      scene.at(2, anchor) = (x2 - x1) * stride;
      scene.at(3, anchor) = (y2 - y1) * stride;
      for (std::size_t c = 0; c < kClasses; ++c) {
        scene.at(4 + c, anchor) = 1 / (1 + std::exp(-level.cls[cell * kClasses + c]));
      }
    }
  }
  return scene;
}

std::vector<HeadTensor> raw_maps(const Scene& scene) {
  static constexpr std::array kBoxNames{"box0", "box1", "box2"};
  static constexpr std::array kClsNames{"cls0", "cls1", "cls2"};
  std::vector<HeadTensor> tensors;
  for (std::size_t l = 0; l < kLevels; ++l) {
    const Level& level = scene.levels[l];
    const auto add = [&](const char* name, const auto& dims, const std::vector<float>& values) {
      tensors.push_back({.name = name,
                         .dtype = fovea::msgs::DataType::kFloat32,
                         .dims = dims,
                         .bytes = std::as_bytes(std::span(values))});
    };
    add(kBoxNames[l], level.box_dims, level.box);
    add(kClsNames[l], level.cls_dims, level.cls);
  }
  return tensors;
}

Postprocessor make(const fovea::HeadSpec& head, const PostprocessOptions& options,
                   bool force_scalar) {
  fovea::msgs::ModelInfo model;
  model.head = head;
  model.network_width = model.network_height = kSide;
  for (std::size_t c = 0; c < kClasses; ++c) model.class_names.push_back("class");
  auto postprocessor = Postprocessor::create(model, options, force_scalar);
  if (!postprocessor) throw std::runtime_error(postprocessor.error().message);
  return std::move(*postprocessor);
}

// What a first version usually looks like.
std::size_t plain_route(Scene& scene, const PostprocessOptions& options) {
  std::vector<Candidate> candidates;
  for (std::size_t a = 0; a < kAnchors; ++a) {
    std::size_t best = 0;
    for (std::size_t c = 1; c < kClasses; ++c) {
      if (scene.at(4 + c, a) > scene.at(4 + best, a)) best = c;
    }
    const float score = scene.at(4 + best, a);
    if (score <= options.score_threshold) continue;
    const float x = scene.at(0, a), y = scene.at(1, a);
    const float w = scene.at(2, a) / 2, h = scene.at(3, a) / 2;
    candidates.push_back({x - w, y - h, x + w, y + h, score, static_cast<std::uint32_t>(best)});
  }
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  candidates.resize(std::min(candidates.size(), options.max_candidates));
  std::vector<Candidate> kept;
  for (const Candidate& c : candidates) {
    if (kept.size() == options.max_detections) break;
    const bool suppressed = std::any_of(kept.begin(), kept.end(), [&](const Candidate& k) {
      if (k.class_id != c.class_id) return false;
      const float w = std::min(k.x2, c.x2) - std::max(k.x1, c.x1);
      const float h = std::min(k.y2, c.y2) - std::max(k.y1, c.y1);
      if (w <= 0 || h <= 0) return false;
      const float area = (k.x2 - k.x1) * (k.y2 - k.y1) + (c.x2 - c.x1) * (c.y2 - c.y1);
      return w * h / (area - w * h) > options.iou_threshold;
    });
    if (!suppressed) kept.push_back(c);
  }
  return kept.size();
}

std::size_t opencv_route(Scene& scene, const PostprocessOptions& options) {
  const cv::Mat columns(4 + static_cast<int>(kClasses), static_cast<int>(kAnchors), CV_32F,
                        scene.output0.data());
  const cv::Mat rows = columns.t();
  std::vector<cv::Rect2d> boxes;
  std::vector<float> scores;
  for (int i = 0; i < rows.rows; ++i) {
    const float* row = rows.ptr<float>(i);
    const cv::Mat classes(1, static_cast<int>(kClasses), CV_32F, const_cast<float*>(row + 4));
    double best = 0;
    cv::Point place;
    cv::minMaxLoc(classes, nullptr, &best, nullptr, &place);
    if (best <= static_cast<double>(options.score_threshold)) continue;
    // NMSBoxes knows no classes: set them apart.
    const double shift = 4096.0 * place.x;
    boxes.emplace_back(static_cast<double>(row[0] - row[2] / 2) + shift,
                       static_cast<double>(row[1] - row[3] / 2), static_cast<double>(row[2]),
                       static_cast<double>(row[3]));
    scores.push_back(static_cast<float>(best));
  }
  std::vector<int> kept;
  cv::dnn::NMSBoxes(boxes, scores, options.score_threshold, options.iou_threshold, kept, 1.0f,
                    static_cast<int>(options.max_candidates));
  return std::min(kept.size(), options.max_detections);
}

std::vector<fovea::bench::Row> compare(const std::string& work, Scene& scene,
                                       const PostprocessOptions& options, int repetitions) {
  const std::array<std::int64_t, 2> dims{4 + kClasses, kAnchors};
  const std::vector<HeadTensor> raw = raw_maps(scene);
  const std::vector<HeadTensor> decoded{
      {"output0", fovea::msgs::DataType::kFloat32, dims, std::as_bytes(std::span(scene.output0))}};
  // Not scaled and not padded, so that no box is clipped away.
  const fovea::msgs::LetterboxTransform transform{kSide, kSide, kSide, kSide, kSide, kSide, 0, 0};

  fovea::msgs::Detection2DArray out;
  std::array<std::size_t, 5> kept{};
  constexpr std::array<std::uint32_t, kLevels> kHeadStrides{8, 16, 32};
  const fovea::HeadSpec dfl = fovea::dfl_head(kClasses, kBins, kHeadStrides);
  std::array<Postprocessor, 3> postprocessors{make(fovea::decoded_head(kClasses), options, false),
                                              make(dfl, options, false), make(dfl, options, true)};
  const auto ours = [&](std::size_t which, const std::vector<HeadTensor>& tensors) {
    const auto result = postprocessors[which].run(tensors, transform, out);
    if (!result) throw std::runtime_error(result.error().message);
    kept[2 + which] = out.detections.size();
  };
  auto rows = fovea::bench::compare(
      work,
      {{"OpenCV transpose+minMaxLoc+NMSBoxes", [&] { kept[0] = opencv_route(scene, options); }},
       {"plain loop", [&] { kept[1] = plain_route(scene, options); }},
       {"Postprocessor output0", [&] { ours(0, decoded); }},
       {"Postprocessor raw maps", [&] { ours(1, raw); }},
       {"Postprocessor raw maps scalar", [&] { ours(2, raw); }}},
      repetitions);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (kept[i] != kept[0]) {
      throw std::runtime_error(fmt::format("{}: {} keeps {} detections, {} keeps {}", work,
                                           rows[i].name, kept[i], rows[0].name, kept[0]));
    }
  }
  return rows;
}

}  // namespace

int main(int argc, char** argv) try {
  bool json = false;
  int repetitions = 101;
  if (!fovea::bench::parse_arguments(argc, argv, json, repetitions)) return 2;
  cv::setNumThreads(1);
  Scene scene = make_scene();
  PostprocessOptions everything;
  everything.score_threshold = 0.001f;  // all 8400 anchors pass
  PostprocessOptions uncut = everything;
  uncut.max_candidates = 30'000;
  std::vector<fovea::bench::Row> rows;
  for (const auto& [work, options] : {std::pair{"threshold 0.25", PostprocessOptions{}},
                                      {"8400 pass, best 1000", everything},
                                      {"8400 pass, all", uncut}}) {
    for (auto& row : compare(work, scene, options, repetitions)) rows.push_back(std::move(row));
  }
  fovea::bench::print(rows, json);
} catch (const std::exception& error) {
  fovea::print_error("{}", error.what());
  return 1;
}
