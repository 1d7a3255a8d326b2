// Scene layout and rendering of synthetic_source.hpp.
#include "nodes/camera/synthetic_source.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/core.h>

#include "nodes/base/check.hpp"

namespace fovea::frames {

namespace {

constexpr std::uint32_t kDefaultWidth = 1280;
constexpr std::uint32_t kDefaultHeight = 720;
constexpr double kDefaultFps = 30;

// Saturated colours far from the grey background, so that truth can be checked against pixels.
constexpr std::array<std::array<std::uint8_t, 3>, 8> kColours{{{0, 0, 255},
                                                               {0, 255, 0},
                                                               {255, 0, 0},
                                                               {0, 255, 255},
                                                               {255, 0, 255},
                                                               {255, 255, 0},
                                                               {0, 128, 255},
                                                               {255, 0, 128}}};

// SplitMix64 (Steele, Lea, Flood 2014): the same numbers on every platform, unlike <random>'s
// distributions.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15ull;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(bits() >> 11) * 0x1.0p-53;
  }

 private:
  std::uint64_t state_;
};

// Checkerboard of two greys under noise: edges and texture, but no colour.
std::vector<std::uint8_t> make_background(std::uint32_t width, std::uint32_t height,
                                          Random& random) {
  const std::uint32_t cell = std::max(8u, std::min(width, height) / 12);
  std::vector<std::uint8_t> pixels(std::size_t{3} * width * height);
  std::uint8_t* out = pixels.data();
  for (std::uint32_t y = 0; y < height; ++y) {
    for (std::uint32_t x = 0; x < width; ++x) {
      const std::uint32_t base = (x / cell + y / cell) % 2 == 0 ? 96 : 136;
      const auto grey = static_cast<std::uint8_t>(base + random.bits() % 24);
      std::fill_n(out, 3, grey);
      out += 3;
    }
  }
  return pixels;
}

void fill(std::byte* out, std::size_t pixels, const std::array<std::uint8_t, 3>& bgr) {
  for (std::size_t i = 0; i < pixels; ++i) std::memcpy(out + 3 * i, bgr.data(), 3);
}

// Columns [first, second) that the object covers in its own row `row`.
std::pair<std::uint32_t, std::uint32_t> covered_columns(const SyntheticObject& object,
                                                        std::uint32_t row) {
  if (object.shape == Shape::kRectangle) return {0, object.width};
  const double radius_x = object.width * 0.5;
  const double radius_y = object.height * 0.5;
  const double dy = (row + 0.5 - radius_y) / radius_y;
  const double half = radius_x * std::sqrt(std::max(0.0, 1 - dy * dy));
  const auto first = static_cast<std::uint32_t>(std::floor(radius_x - half));
  return {first, object.width - first};
}

}  // namespace

msgs::BoundingBox2D SyntheticObject::bbox() const {
  return {.center_x = static_cast<float>(left) + static_cast<float>(width) / 2,
          .center_y = static_cast<float>(top) + static_cast<float>(height) / 2,
          .size_x = static_cast<float>(width),
          .size_y = static_cast<float>(height)};
}

std::uint32_t SyntheticScene::Track::at(std::uint64_t frame_index) const {
  if (range <= 0) return 0;
  const double travelled = std::fmod(start + speed * static_cast<double>(frame_index), 2 * range);
  const double position = travelled <= range ? travelled : 2 * range - travelled;
  return static_cast<std::uint32_t>(std::clamp(std::round(position), 0.0, range));
}

SyntheticScene::SyntheticScene(std::uint64_t seed, std::uint32_t objects, std::uint32_t width,
                               std::uint32_t height)
    : width_(width), height_(height) {
  FOVEA_CHECK(width >= 16 && height >= 16);
  Random random(seed);
  background_ = make_background(width, height, random);
  const double side = std::min(width, height);
  const auto track = [&](std::uint32_t frame_side, std::uint32_t object_side) {
    const double range = frame_side - object_side;
    return Track{.start = random.uniform(0, 2 * range),
                 .speed = side * random.uniform(0.002, 0.012),
                 .range = range};
  };
  for (std::uint32_t i = 0; i < objects; ++i) {
    Actor actor;
    actor.look.shape = i % 2 == 0 ? Shape::kRectangle : Shape::kEllipse;
    actor.look.bgr = kColours[i % kColours.size()];
    actor.look.width = static_cast<std::uint32_t>(std::max(4.0, side * random.uniform(0.1, 0.3)));
    actor.look.height = static_cast<std::uint32_t>(std::max(4.0, side * random.uniform(0.1, 0.3)));
    actor.x = track(width, actor.look.width);
    actor.y = track(height, actor.look.height);
    actors_.push_back(actor);
  }
}

std::vector<SyntheticObject> SyntheticScene::truth(std::uint64_t frame_index) const {
  std::vector<SyntheticObject> objects;
  objects.reserve(actors_.size());
  for (const Actor& actor : actors_) {
    SyntheticObject object = actor.look;
    object.left = actor.x.at(frame_index);
    object.top = actor.y.at(frame_index);
    objects.push_back(object);
  }
  return objects;
}

void SyntheticScene::render(std::uint64_t frame_index, const ImageTarget& destination) const {
  FOVEA_CHECK(destination.width == width_ && destination.height == height_);
  const std::size_t row_bytes = std::size_t{3} * width_;
  for (std::uint32_t y = 0; y < height_; ++y) {
    std::memcpy(destination.data + y * destination.step, background_.data() + y * row_bytes,
                row_bytes);
  }
  for (const SyntheticObject& object : truth(frame_index)) {
    for (std::uint32_t row = 0; row < object.height; ++row) {
      const auto [first, last] = covered_columns(object, row);
      std::byte* line = destination.data + (object.top + row) * destination.step;
      fill(line + std::size_t{3} * (object.left + first), last - first, object.bgr);
    }
  }
}

SyntheticSource::SyntheticSource(std::string name, const SyntheticOptions& scene,
                                 const SourceOptions& options)
    : FrameSource(std::move(name), options), scene_options_(scene) {}

std::vector<SyntheticObject> SyntheticSource::truth(std::uint64_t frame_index) const {
  FOVEA_CHECK(scene_);
  return scene_->truth(frame_index);
}

Result<SourceInfo> SyntheticSource::do_open(const std::stop_token&) {
  SourceInfo info;
  info.width = options().width > 0 ? options().width : kDefaultWidth;
  info.height = options().height > 0 ? options().height : kDefaultHeight;
  info.fps = options().fps > 0 ? options().fps : kDefaultFps;
  info.loops = options().loop || scene_options_.frames == 0;
  next_index_ = static_cast<std::uint64_t>(std::llround(options().start_offset * info.fps));
  if (scene_options_.frames > 0) {
    info.frame_count = scene_options_.frames;
    info.duration = static_cast<double>(scene_options_.frames) / info.fps;
    if (next_index_ >= scene_options_.frames) {
      return fail_here(ErrorCode::kInvalidArgument,
                       fmt::format("start is {} s; it must be below its duration, {} s",
                                   options().start_offset, *info.duration));
    }
  }
  if (!scene_) {
    scene_ = std::make_unique<SyntheticScene>(options().seed, scene_options_.objects, info.width,
                                              info.height);
  }
  return info;
}

Result<Grab> SyntheticSource::advance(Nanoseconds, const std::stop_token&) {
  if (scene_options_.frames > 0 && next_index_ >= scene_options_.frames) {
    if (!options().loop) return Grab{.status = GrabStatus::kEndOfStream};
    next_index_ = 0;
  }
  current_index_ = next_index_++;
  Grab grab;
  grab.status = GrabStatus::kFrame;
  grab.frame.index = current_index_;
  grab.frame.width = info().width;
  grab.frame.height = info().height;
  return grab;
}

Result<std::size_t> SyntheticSource::convert(const ImageTarget& destination) {
  scene_->render(current_index_, destination);
  return std::size_t{0};
}

}  // namespace fovea::frames
