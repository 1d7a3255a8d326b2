#include "bench/tracker/scene.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "nodes/tracker/overlap.hpp"

namespace fovea::bench {
namespace {

constexpr double kWidth = 1280, kHeight = 720;
constexpr double kHorizon = 200;      // px; people's feet are below
constexpr double kVisible = 0.25;     // of a person; less is hidden
constexpr float kSuppressed = 0.45f;  // postprocess's iou_threshold

// The library's distributions may differ from one to another.
class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  double uniform(double from, double to) {
    return from + (to - from) * (static_cast<double>(engine_()) / 4294967296.0);
  }
  bool chance(double share) { return uniform(0, 1) < share; }
  double normal() {  // nearly
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += uniform(0, 1);
    return sum;
  }

 private:
  std::mt19937 engine_;
};

struct Rect {
  double left, top, right, bottom;
};

struct Person {
  std::uint64_t id;
  double x, feet;       // px
  double scale;         // of the height that goes with the distance
  double speed, angle;  // heights per second; feet move a fifth as fast up and down
  int blurred = 0;      // frames

  double height() const { return scale * (40 + (feet - kHorizon) * 0.45); }
  double width() const { return 0.4 * height(); }
  Rect rect() const { return {x - width() / 2, feet - height(), x + width() / 2, feet}; }
};

Person enter(Random& random, const SceneOptions& options, std::uint64_t id, bool is_first) {
  const bool from_left = random.chance(0.5);
  Person person{.id = id,
                .x = is_first ? random.uniform(0, kWidth) : (from_left ? 0 : kWidth),
                .feet = random.uniform(kHorizon + 60, kHeight - 20),
                .scale = random.uniform(0.85, 1.15),
                .speed = options.heights_per_second * random.uniform(0.3, 2),
                .angle = (from_left ? 0 : M_PI) + random.uniform(-0.6, 0.6)};
  return person;
}

void walk(Person& person, Random& random, double seconds) {
  person.angle += random.normal() * 0.6 * std::sqrt(seconds);
  const double way = person.speed * person.height() * seconds;
  person.x += way * std::cos(person.angle);
  person.feet += way * 0.2 * std::sin(person.angle);
  if (person.feet < kHorizon + 40 || person.feet > kHeight) person.angle = -person.angle;
  person.feet = std::clamp(person.feet, kHorizon + 40, kHeight);
}

// The share of `behind` that none of `before` covers, on a grid of 8 x 16 points.
double visible(const Rect& behind, const std::vector<Rect>& before) {
  int seen = 0;
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 16; ++j) {
      const double x = behind.left + (behind.right - behind.left) * (i + 0.5) / 8;
      const double y = behind.top + (behind.bottom - behind.top) * (j + 0.5) / 16;
      const bool is_out = x < 0 || x > kWidth || y < 0 || y > kHeight;
      const bool is_covered = std::any_of(before.begin(), before.end(), [&](const Rect& r) {
        return r.left <= x && x <= r.right && r.top <= y && y <= r.bottom;
      });
      if (!is_out && !is_covered) ++seen;
    }
  }
  return seen / 128.0;
}

msgs::BoundingBox2D box_of(const Rect& rect) {
  return {static_cast<float>((rect.left + rect.right) / 2),
          static_cast<float>((rect.top + rect.bottom) / 2),
          static_cast<float>(rect.right - rect.left), static_cast<float>(rect.bottom - rect.top)};
}

msgs::Detection2D detection(const msgs::BoundingBox2D& box, double score) {
  return {box, {0, static_cast<float>(score)}, std::string_view("person")};
}

void tremble(msgs::BoundingBox2D& box, Random& random, double share) {
  const double wide = static_cast<double>(box.size_x), high = static_cast<double>(box.size_y);
  box.center_x += static_cast<float>(random.normal() * share * wide);
  box.center_y += static_cast<float>(random.normal() * share * high);
  box.size_x *= static_cast<float>(std::max(0.3, 1 + random.normal() * share));
  box.size_y *= static_cast<float>(std::max(0.3, 1 + random.normal() * share));
}

// Best first, without those that a better one overlaps.
void publish(std::vector<msgs::Detection2D>& found, msgs::Detection2DArray& to) {
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a.hypothesis.score > b.hypothesis.score;
  });
  for (const msgs::Detection2D& one : found) {
    const bool is_suppressed = std::any_of(
        to.detections.begin(), to.detections.end(),
        [&](const auto& better) { return overlap(one.bbox, better.bbox) > kSuppressed; });
    if (!is_suppressed && to.detections.size() < msgs::Detection2DArray::kMaxDetections) {
      to.detections.push_back(one);
    }
  }
}

struct Ghost {
  msgs::BoundingBox2D box;
  int frames;
};

}  // namespace

std::vector<SceneFrame> make_scene(const SceneOptions& options) {
  Random random(options.seed);
  std::uint64_t last_id = 0;
  std::vector<Person> people;
  for (int i = 0; i < options.people; ++i) {
    people.push_back(enter(random, options, ++last_id, true));
  }
  std::vector<Rect> pillars;
  for (int i = 0; i < options.pillars; ++i) {
    const double left = kWidth * (i + random.uniform(0.3, 0.6)) / options.pillars;
    pillars.push_back({left, 0, left + random.uniform(50, 110), kHeight});
  }
  std::vector<Ghost> ghosts;
  std::vector<SceneFrame> frames;
  const double seconds = 1 / options.frames_per_second;
  const int count = static_cast<int>(options.seconds * options.frames_per_second);
  int dropping = 0;
  for (int number = 1; number <= count; ++number) {
    for (Person& person : people) {
      walk(person, random, seconds);
      if (person.x < -40 || person.x > kWidth + 40) {
        person = enter(random, options, ++last_id, false);
      }
    }
    // The nearest first.
    std::vector<Person*> order;
    for (Person& person : people) order.push_back(&person);
    std::sort(order.begin(), order.end(),
              [](const Person* a, const Person* b) { return a->feet > b->feet; });
    SceneFrame frame;
    frame.detections.header.seq = static_cast<std::uint64_t>(number);
    frame.detections.header.stamp_monotonic =
        1'000'000'000 + static_cast<std::int64_t>(number * seconds * 1e9 +
                                                  random.uniform(-0.1, 0.1) * seconds * 1e9);
    frame.detections.source_width = static_cast<std::uint32_t>(kWidth);
    frame.detections.source_height = static_cast<std::uint32_t>(kHeight);
    std::vector<Rect> before = pillars;
    std::vector<msgs::Detection2D> found;
    for (Person* person : order) {
      const Rect rect = person->rect();
      const double share = visible(rect, before);
      before.push_back(rect);
      if (person->blurred > 0) --person->blurred;
      if (random.chance(0.25 * seconds)) person->blurred = static_cast<int>(0.4 / seconds);
      const double noise = random.normal() * 0.08;
      const bool is_missed = random.chance(options.missed);
      msgs::BoundingBox2D box = box_of(rect);
      if (share < kVisible) continue;
      frame.truth.push_back({person->id, box});
      tremble(box, random, options.tremble * (2 - share));
      double score = 0.9 * std::pow(share, 1.3) + noise;
      if (person->blurred > 0) score *= 0.3;
      if (!is_missed && score > 0.05) found.push_back(detection(box, std::min(score, 0.99)));
    }
    for (int i = 0; i < options.false_per_frame; ++i) {
      if (!random.chance(std::min(options.false_per_frame - i, 1.0))) continue;
      const double high = random.uniform(40, 200);
      const double x = random.uniform(0, kWidth), y = random.uniform(kHorizon, kHeight);
      const msgs::BoundingBox2D box =
          box_of({x - high / 5, y - high / 2, x + high / 5, y + high / 2});
      found.push_back(detection(box, 0.1 + 0.5 * std::pow(random.uniform(0, 1), 2)));
      if (random.chance(0.03)) ghosts.push_back({box, static_cast<int>(random.uniform(3, 12))});
    }
    for (Ghost& ghost : ghosts) {
      msgs::BoundingBox2D box = ghost.box;
      tremble(box, random, options.tremble);
      found.push_back(detection(box, random.uniform(0.1, 0.5)));
      --ghost.frames;
    }
    std::erase_if(ghosts, [](const Ghost& ghost) { return ghost.frames <= 0; });
    if (dropping == 0 && random.chance(options.dropped / 3.5)) {
      dropping = static_cast<int>(random.uniform(1, 7));
    }
    if (dropping > 0) {
      --dropping;
      continue;
    }
    publish(found, frame.detections);
    frames.push_back(std::move(frame));
  }
  return frames;
}

}  // namespace fovea::bench
