#include "nodes/bag/detection_hash.hpp"

#include <algorithm>
#include <cstring>
#include <map>

#include <fmt/core.h>

#include "msgs/cdr.hpp"
#include "msgs/detection.hpp"
#include "nodes/bag/mcap.hpp"

namespace fovea::bag {
namespace {

constexpr std::uint64_t kFnvOffset = 0xcbf29ce484222325ull;
constexpr std::uint64_t kFnvPrime = 0x100000001b3ull;

template <class T>
std::uint64_t mix(std::uint64_t hash, const T& value) {
  std::array<unsigned char, sizeof(T)> bytes{};
  std::memcpy(bytes.data(), &value, sizeof value);
  for (const unsigned char byte : bytes) hash = (hash ^ byte) * kFnvPrime;
  return hash;
}

// One frame's detections, in the order in which postprocess gives them: best score first.
std::uint64_t hash_frame(const msgs::Detection2DArray& message) {
  std::uint64_t hash = mix(kFnvOffset, message.header.seq);
  for (const msgs::Detection2D& detection : message.detections) {
    hash = mix(hash, detection.bbox);
    hash = mix(hash, detection.hypothesis);
  }
  return hash;
}

}  // namespace

std::string DetectionHash::text() const { return fmt::format("{:016x}", hash); }

Result<std::vector<DetectionHash>> hash_detections(const std::string& path) {
  FOVEA_ASSIGN(auto reader, mcap::Reader::open(path));
  if (!reader->summary().damage.empty()) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: {}", path, reader->summary().damage));
  }
  std::map<std::string, std::map<std::uint64_t, std::uint64_t>> frames;  // topic, seq -> hash
  std::map<std::string, std::uint64_t> detections;
  for (;;) {
    FOVEA_ASSIGN(const auto recorded, reader->next());
    if (!recorded) break;
    const mcap::Schema* schema = reader->find_schema(recorded->channel->schema_id);
    if (schema == nullptr || schema->name != msgs::ros2_name<msgs::Detection2DArray>()) continue;
    msgs::Detection2DArray message;
    std::span<const std::byte> payload;
    if (!msgs::from_cdr<msgs::Detection2DArray>(recorded->data, message, payload)) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{}: message {} of {} is no Detection2DArray of this build", path,
                              recorded->sequence, recorded->channel->topic));
    }
    const std::string& topic = recorded->channel->topic;
    frames[topic][message.header.seq] = hash_frame(message);
    detections[topic] += message.detections.size();
  }
  if (frames.empty()) {
    return fail(ErrorCode::kNotFound, fmt::format("{}: has no detections", path));
  }
  std::vector<DetectionHash> result;
  for (const auto& [topic, by_seq] : frames) {
    DetectionHash total{topic, by_seq.size(), detections[topic], kFnvOffset};
    for (const auto& [seq, hash] : by_seq) total.hash = mix(total.hash, hash);
    result.push_back(total);
  }
  return result;
}

}  // namespace fovea::bag
