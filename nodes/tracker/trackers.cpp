#include "nodes/tracker/trackers.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "nodes/base/check.hpp"
#include "nodes/tracker/byte_tracker.hpp"
#include "nodes/tracker/iou_tracker.hpp"

namespace fovea {
namespace {

template <class T>
std::unique_ptr<Tracker> make(const TrackerOptions& options, std::uint64_t last_id) {
  return std::make_unique<T>(options, last_id);
}

constexpr std::array kKinds{
    TrackerKind{"bytetrack", &make<ByteTracker>},
    TrackerKind{"iou", &make<IouTracker>},
};

}  // namespace

Result<> check(const TrackerOptions& options) {
  if (options.track_low_threshold > options.track_high_threshold) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("track_low_threshold is {}; it must be at most track_high_threshold, {}",
                    options.track_low_threshold, options.track_high_threshold));
  }
  return {};
}

std::span<const TrackerKind> tracker_kinds() { return kKinds; }

const TrackerKind& tracker_kind(std::string_view name) {
  const auto found = std::find_if(kKinds.begin(), kKinds.end(),
                                  [&](const TrackerKind& kind) { return kind.name == name; });
  FOVEA_CHECK(found != kKinds.end());
  return *found;
}

}  // namespace fovea
