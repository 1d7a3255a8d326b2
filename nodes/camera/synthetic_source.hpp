// A scene with known truth for tests, demos and benches: coloured rectangles and ellipses bounce
// over a textured background. The pixels of frame i depend only on the seed, i, the number of
// objects and the size; nothing is read from outside and nothing else is drawn.
//
// Cost: one memcpy of the background plus the objects' area per frame. Thread safety: as
// FrameSource.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "msgs/detection.hpp"
#include "nodes/camera/frame_source.hpp"

namespace fovea::frames {

struct SyntheticOptions {
  std::uint32_t objects = 5;
  std::uint64_t frames = 0;  // length of one pass; 0 = endless
};

enum class Shape : std::uint32_t { kRectangle, kEllipse };

// One object in one frame. It covers the pixels [left, left + width) x [top, top + height), an
// ellipse the largest one inside; later objects cover earlier ones. Always entirely inside the
// frame.
struct SyntheticObject {
  Shape shape = Shape::kRectangle;
  std::uint32_t left = 0;
  std::uint32_t top = 0;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::array<std::uint8_t, 3> bgr{};

  msgs::BoundingBox2D bbox() const;
};

// The scene without a source around it. REQUIRES: 16 <= width, height.
class SyntheticScene {
 public:
  SyntheticScene(std::uint64_t seed, std::uint32_t objects, std::uint32_t width,
                 std::uint32_t height);

  // Objects of frame `frame_index`, in drawing order.
  std::vector<SyntheticObject> truth(std::uint64_t frame_index) const;
  // REQUIRES: `destination` has the scene's size.
  void render(std::uint64_t frame_index, const ImageTarget& destination) const;

 private:
  // A coordinate that runs to and fro in [0, range].
  struct Track {
    double start = 0;
    double speed = 0;  // pixels per frame
    double range = 0;
    std::uint32_t at(std::uint64_t frame_index) const;
  };
  struct Actor {
    SyntheticObject look;
    Track x;
    Track y;
  };

  std::uint32_t width_;
  std::uint32_t height_;
  std::vector<Actor> actors_;
  std::vector<std::uint8_t> background_;  // [height, width, 3]
};

class SyntheticSource final : public FrameSource {
 public:
  SyntheticSource(std::string name, const SyntheticOptions& scene, const SourceOptions& options);

  // What frame `frame_index` (FrameInfo::index) shows. REQUIRES: open() succeeded.
  std::vector<SyntheticObject> truth(std::uint64_t frame_index) const;

 private:
  Result<SourceInfo> do_open(const std::stop_token& stop) override;
  void do_close() override {}
  Result<Grab> advance(Nanoseconds timeout, const std::stop_token& stop) override;
  Result<std::size_t> convert(const ImageTarget& destination) override;

  SyntheticOptions scene_options_;
  std::unique_ptr<SyntheticScene> scene_;  // built by the first open()
  std::uint64_t next_index_ = 0;
  std::uint64_t current_index_ = 0;
};

}  // namespace fovea::frames
