// What a run found, as one number per camera, so that two runs over the same recording can be told
// equal or not. Covers frame numbers and, bit for bit, classes, scores and boxes; leaves out every
// instant.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea::bag {

struct DetectionHash {
  std::string topic;
  std::uint64_t frames = 0;
  std::uint64_t detections = 0;
  std::uint64_t hash = 0;  // FNV-1a

  std::string text() const;  // 16 hexadecimal digits
  bool operator==(const DetectionHash&) const = default;
};

// By topic, sorted. Frames count in order of their number, so that the order of arrival does not
// matter. Errors: those of mcap::Reader; kCorrupt for a damaged recording; kNotFound for one
// without detections of this build.
Result<std::vector<DetectionHash>> hash_detections(const std::string& path);

}  // namespace fovea::bag
