// What models find beside boxes: the time of one frame with 100 objects for every task that finds
// some, of a map of 19 classes whose regions are as large as things in pictures and of one whose every
// cell is of another class, and masks
// against the usual OpenCV route (the weighted sum of all prototypes, enlarged to the picture,
// compared with 0, cut to the box), all on one thread.
//
// One made-up scene: 640x640 for a picture of 1920x1080, 100 objects of 6 candidates each. Masks are
// discs. The bench fails unless both routes agree about 99 of 100 pixels of the masks.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "bench/compare.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/postprocess/postprocessor.hpp"

namespace {

using namespace fovea;

constexpr std::uint32_t kSide = 640;
constexpr std::uint32_t kClasses = 80;
constexpr std::uint32_t kPrototypes = 32;
constexpr int kObjects = 100;
constexpr std::array<std::uint32_t, 3> kStrides{8, 16, 32};
constexpr msgs::LetterboxTransform kTransform{1920, 1080, kSide, kSide, kSide, 360, 0, 140, 0, 0};

struct Scene {
  msgs::ModelInfo model;
  std::vector<std::vector<float>> values;
  std::vector<std::array<std::int64_t, 3>> dims;
  std::vector<HeadTensor> tensors;

  float* at(std::string_view name, std::size_t cell) {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].name == name) {
        return values[i].data() + cell * static_cast<std::size_t>(dims[i][2]);
      }
    }
    throw std::runtime_error("no map " + std::string(name));
  }
};

// Distances of the scene's boxes are given as they are: one bin.
std::unique_ptr<Scene> make_scene(const std::optional<LevelMap>& more) {
  auto scene = std::make_unique<Scene>();
  msgs::ModelInfo& model = scene->model;
  model.head = dfl_head(kClasses, 1, kStrides, Suppression::kNeeded, more);
  const bool segments = more && more->role == OutputRole::kMaskCoefficients;
  if (segments) model.head.maps.push_back(prototypes(kPrototypes, 4));
  model.network_width = model.network_height = kSide;
  for (std::uint32_t c = 0; c < kClasses; ++c) {
    model.class_names.push_back(std::string_view(fmt::format("class {}", c)));
  }
  std::mt19937 random(1);
  std::normal_distribution<float> noise(0, 0.3f);
  for (const OutputMap& map : model.head.maps) {
    const std::int64_t side = kSide / map.stride;
    scene->dims.push_back({side, side, map.channels});
    auto& values = scene->values.emplace_back(static_cast<std::size_t>(side * side) * map.channels);
    for (float& value : values) {
      value = map.role == OutputRole::kClassScore ? noise(random) - 5 : noise(random);
    }
  }
  for (std::size_t i = 0; i < scene->dims.size(); ++i) {
    scene->tensors.push_back({.name = model.head.maps[i].tensor.view(),
                              .dtype = msgs::DataType::kFloat32,
                              .dims = scene->dims[i],
                              .bytes = std::as_bytes(std::span(scene->values[i]))});
  }
  // Prototype 0 is 1 everywhere, 1 and 2 are the place, 3 its square: a disc is a weighted sum.
  for (std::size_t cell = 0; segments && cell < 160 * 160; ++cell) {
    float* p = scene->at("proto", cell);
    const float x = static_cast<float>(cell % 160) - 80;
    const float y = static_cast<float>(cell / 160) - 80;
    p[0] = 1;
    p[1] = x / 80;
    p[2] = y / 80;
    p[3] = (x * x + y * y) / 6400;
  }
  for (int object = 0; object < kObjects; ++object) {
    const std::size_t column = 4 + static_cast<std::size_t>(object % 10) * 7;
    const std::size_t row = 20 + static_cast<std::size_t>(object / 10) * 4;
    for (std::size_t i = 0; i < 6; ++i) {
      const std::size_t cell = (row + i / 3) * 80 + column + i % 3;
      float* sides = scene->at("box0", cell);
      const float dx = static_cast<float>(i % 3);
      const float dy = static_cast<float>(i / 3);
      const std::array<float, 4> box{dx + 1.6f, dy + 2.1f, 4.4f - dx, 3.9f - dy};
      std::copy(box.begin(), box.end(), sides);
      scene->at("cls0", cell)[object % static_cast<int>(kClasses)] = 1 + noise(random);
      if (!segments) continue;
      float* c = scene->at("msk0", cell);
      std::fill_n(c, kPrototypes, 0.0f);
      // 1 - |p - centre|^2 / radius^2, in cells of 4 pixels from the middle.
      const float x = (static_cast<float>(column) + 1.9f) * 2 - 80;
      const float y = (static_cast<float>(row) + 1.4f) * 2 - 80;
      const float square = 5.0f * 5.0f;
      c[0] = 1 - (x * x + y * y) / square;
      c[1] = 160 * x / square;
      c[2] = 160 * y / square;
      c[3] = -6400 / square;
    }
  }
  return scene;
}

// A semantic map of 19 classes: regions of `region` x `region` cells of 8 pixels.
std::unique_ptr<Scene> make_map(std::size_t region) {
  constexpr std::uint32_t kMapClasses = 19;
  constexpr std::size_t kCells = kSide / 8;
  auto scene = std::make_unique<Scene>();
  msgs::ModelInfo& model = scene->model;
  model.head = semantic_head(kMapClasses, 8);
  model.network_width = model.network_height = kSide;
  for (std::uint32_t c = 0; c < kMapClasses; ++c) {
    model.class_names.push_back(std::string_view(fmt::format("class {}", c)));
  }
  std::mt19937 random(1);
  std::normal_distribution<float> noise(0, 1);
  auto& values = scene->values.emplace_back(kCells * kCells * kMapClasses);
  for (float& value : values) value = noise(random);
  for (std::size_t cell = 0; cell < kCells * kCells; ++cell) {
    const std::size_t number = cell / kCells / region * 31 + cell % kCells / region;
    values[cell * kMapClasses + number * 7 % kMapClasses] += 6;
  }
  scene->dims.push_back({kCells, kCells, kMapClasses});
  scene->tensors.push_back({.name = model.head.maps[0].tensor.view(),
                            .dtype = msgs::DataType::kFloat32,
                            .dims = scene->dims[0],
                            .bytes = std::as_bytes(std::span(values))});
  return scene;
}

Postprocessor make(const Scene& scene) {
  auto made = Postprocessor::create(scene.model);
  if (!made) throw std::runtime_error(made.error().message);
  return std::move(*made);
}

void run(Postprocessor& postprocessor, const Scene& scene, msgs::Detection2DArray& boxes) {
  if (const auto done = postprocessor.run(scene.tensors, kTransform, boxes); !done) {
    throw std::runtime_error(done.error().message);
  }
}

// The pixels of the masks of `boxes`, by way of whole pictures.
std::vector<cv::Mat> opencv_masks(Scene& scene, const msgs::Detection2DArray& boxes,
                                  std::span<const float> coefficients) {
  const cv::Mat prototypes(160 * 160, kPrototypes, CV_32F, scene.at("proto", 0));
  std::vector<cv::Mat> masks;
  for (std::size_t i = 0; i < boxes.detections.size(); ++i) {
    const cv::Mat weights(kPrototypes, 1, CV_32F,
                          const_cast<float*>(coefficients.data() + i * kPrototypes));
    const cv::Mat sums = cv::Mat(prototypes * weights).reshape(1, 160);
    cv::Mat large;
    cv::resize(sums(cv::Rect(0, 35, 160, 90)), large, {1920, 1080}, 0, 0, cv::INTER_LINEAR);
    const msgs::BoundingBox2D& box = boxes.detections[i].bbox;
    const auto first = [](float edge) { return static_cast<int>(std::ceil(edge)); };
    const cv::Rect area(
        cv::Point(first(box.center_x - box.size_x / 2), first(box.center_y - box.size_y / 2)),
        cv::Point(first(box.center_x + box.size_x / 2), first(box.center_y + box.size_y / 2)));
    cv::Mat mask = cv::Mat::zeros(1080, 1920, CV_8U);
    cv::compare(large(area), 0, mask(area), cv::CMP_GT);
    masks.push_back(mask);
  }
  return masks;
}

void check_masks(const Postprocessor& ours, const std::vector<cv::Mat>& theirs) {
  std::size_t all = 0;
  std::size_t differ = 0;
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    std::size_t pixel = 0;
    bool inside = false;
    for (const std::uint32_t run : ours.mask_runs(i)) {
      for (std::uint32_t k = 0; k < run; ++k, ++pixel) {
        const auto row = static_cast<int>(pixel % 1080);
        const auto column = static_cast<int>(pixel / 1080);
        const bool other = theirs[i].at<std::uint8_t>(row, column) != 0;
        all += inside || other ? 1 : 0;
        differ += inside != other ? 1 : 0;
      }
      inside = !inside;
    }
  }
  if (all < 1000 || differ * 100 > all) {
    throw std::runtime_error(fmt::format("{} of {} pixels of masks differ", differ, all));
  }
}

struct Times {
  double median;
  double p99;
};
template <class F>
Times timed(const F& frame, int repetitions) {
  std::vector<double> times;
  for (int i = -5; i < repetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    frame();
    const std::chrono::duration<double, std::micro> elapsed =
        std::chrono::steady_clock::now() - start;
    if (i >= 0) times.push_back(elapsed.count());
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[times.size() * 99 / 100]};
}

}  // namespace

int main(int argc, char** argv) try {
  bool json = false;
  int repetitions = 1001;
  if (!bench::parse_arguments(argc, argv, json, repetitions)) return 2;
  cv::setNumThreads(1);
  const auto boxes = std::make_unique<msgs::Detection2DArray>();
  const auto print = [&](std::string_view task, const Times& times) {
    print_out("{:<10} {:>4} objects  median {:>8.1f} us  p99 {:>8.1f} us\n", task,
              boxes->detections.size(), times.median, times.p99);
  };
  const auto measure = [&](std::string_view task, const std::optional<LevelMap>& more,
                           const auto& rest) {
    const auto scene = make_scene(more);
    Postprocessor postprocessor = make(*scene);
    const Times times = timed(
        [&] {
          run(postprocessor, *scene, *boxes);
          rest(postprocessor);
        },
        repetitions);
    if (!json) print(task, times);
  };
  const auto keypoints = std::make_unique<msgs::KeypointDetection2DArray>();
  const auto turned = std::make_unique<msgs::OrientedDetection2DArray>();
  const auto masks = std::make_unique<msgs::InstanceMask2DArray>();
  measure("detect", std::nullopt, [](const Postprocessor&) {});
  measure("pose", LevelMap{OutputRole::kKeypoints, OutputEncoding::kTwiceOffset, 51, 3},
          [&](const Postprocessor& found) { found.keypoints(*keypoints); });
  measure("obb", LevelMap{OutputRole::kAngle, OutputEncoding::kLogit, 1, 0},
          [&](const Postprocessor& found) { found.oriented_boxes(*turned); });
  const LevelMap coefficients{OutputRole::kMaskCoefficients, OutputEncoding::kDecoded, kPrototypes,
                              0};
  measure("segment", coefficients, [&](const Postprocessor& found) { found.masks(*masks); });

  const auto map = std::make_unique<msgs::SemanticMap>();
  for (const std::size_t region : {10, 1}) {
    const auto pixels = make_map(region);
    Postprocessor labels = make(*pixels);
    const Times times = timed(
        [&] {
          run(labels, *pixels, *boxes);
          labels.semantic_map(*map);
        },
        repetitions);
    if (json) continue;
    print_out("{:<10} {:>6} runs   median {:>8.1f} us  p99 {:>8.1f} us\n",
              region > 1 ? "semantic" : "noise", map->runs.size(), times.median, times.p99);
  }

  const auto scene = make_scene(coefficients);
  Postprocessor postprocessor = make(*scene);
  run(postprocessor, *scene, *boxes);
  // The coefficients of what was found, by the cell that its score stands in.
  std::vector<float> weights;
  for (const msgs::Detection2D& detection : boxes->detections) {
    for (std::size_t cell = 0; cell < 80 * 80; ++cell) {
      const float score = scene->at("cls0", cell)[detection.hypothesis.class_id];
      if (1 / (1 + std::exp(-score)) != detection.hypothesis.score) continue;
      const float* c = scene->at("msk0", cell);
      weights.insert(weights.end(), c, c + kPrototypes);
      break;
    }
  }
  if (weights.size() != boxes->detections.size() * kPrototypes) {
    throw std::runtime_error("not every detection has its cell");
  }
  check_masks(postprocessor, opencv_masks(*scene, *boxes, weights));
  const auto rows = bench::compare(
      "100 masks at 1920x1080",
      {{"OpenCV sums+resize+compare", [&] { opencv_masks(*scene, *boxes, weights); }},
       {"Postprocessor, with boxes and NMS", [&] { run(postprocessor, *scene, *boxes); }}},
      std::min(repetitions, 11));
  bench::print(rows, json);
} catch (const std::exception& error) {
  print_error("{}", error.what());
  return 1;
}
