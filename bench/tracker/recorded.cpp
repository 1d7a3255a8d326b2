#include "bench/tracker/recorded.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "nodes/base/file_io.hpp"
#include "nodes/tracker/overlap.hpp"

namespace fovea::bench {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr float kSamePlace = 0.3F;
constexpr std::size_t kShort = 5;

struct Life {
  std::size_t first = 0;  // frames
  std::size_t last = 0;
  std::size_t shown = 0;
  std::uint32_t class_id = 0;
  msgs::BoundingBox2D first_box;
  msgs::BoundingBox2D last_box;
};

}  // namespace

RecordedFigures track_recorded(Tracker& tracker,
                               const std::vector<msgs::Detection2DArray>& frames) {
  RecordedFigures figures;
  std::map<std::uint64_t, Life> lives;
  msgs::Track2DArray tracks;
  std::chrono::duration<double, std::micro> spent{0};
  for (std::size_t number = 0; number < frames.size(); ++number) {
    const auto start = std::chrono::steady_clock::now();
    tracker.update(frames[number], tracks);
    spent += std::chrono::steady_clock::now() - start;
    for (const msgs::Track2D& one : tracks.tracks) {
      const auto [life, is_new] = lives.try_emplace(one.id);
      Life& l = life->second;
      if (is_new) {
        l = {number, number, 0, one.hypothesis.class_id, one.bbox, one.bbox};
      } else if (l.last + 1 < number) {
        ++figures.gaps;
      }
      l.last = number;
      l.last_box = one.bbox;
      ++l.shown;
      ++figures.shown;
    }
  }
  figures.frames = frames.size();
  figures.tracks = lives.size();
  const auto stamp = [&](std::size_t frame) { return frames[frame].header.stamp_monotonic; };
  for (const auto& [id, life] : lives) {
    figures.short_ones += life.shown < kShort ? 1 : 0;
    const bool taken_over = std::any_of(lives.begin(), lives.end(), [&](const auto& other) {
      const Life& before = other.second;
      return before.last < life.first && stamp(life.first) - stamp(before.last) <= kSecond &&
             before.class_id == life.class_id &&
             overlap(before.last_box, life.first_box) >= kSamePlace;
    });
    figures.hand_overs += taken_over ? 1 : 0;
  }
  if (!frames.empty()) figures.microseconds = spent.count() / static_cast<double>(frames.size());
  return figures;
}

Result<std::vector<msgs::Detection2DArray>> read_predictions(const std::string& file, double rate) {
  FOVEA_ASSIGN(const std::string text, read_text_file(file));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  std::vector<msgs::Detection2DArray> frames;
  try {
    for (const auto& picture : json.at("pictures")) {
      msgs::Detection2DArray& frame = frames.emplace_back();
      frame.header.seq = frames.size();
      frame.header.stamp_monotonic = static_cast<std::int64_t>(static_cast<double>(frames.size()) *
                                                               static_cast<double>(kSecond) / rate);
      picture.at("width").get_to(frame.source_width);
      picture.at("height").get_to(frame.source_height);
      for (const auto& one : picture.at("detections")) {
        if (frame.detections.size() == msgs::Detection2DArray::kMaxDetections) break;
        const auto box = one.at("box").get<std::array<float, 4>>();
        frame.detections.push_back(
            {{(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]},
             {one.at("class_id").get<std::uint32_t>(), one.at("score").get<float>()},
             std::string_view(one.at("class").get_ref<const std::string&>())});
      }
    }
  } catch (const nlohmann::json::exception& problem) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: no result file of `fovea predict VIDEO --json`: {}", file,
                            problem.what()));
  }
  return frames;
}

}  // namespace fovea::bench
