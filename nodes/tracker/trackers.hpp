// The trackers that there are, the default first; to add one is to add a row.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "nodes/tracker/tracker.hpp"

namespace fovea {

struct TrackerKind {
  std::string_view name;  // what the parameter `tracker` says
  std::unique_ptr<Tracker> (*make)(const TrackerOptions& options, std::uint64_t last_id);
};

std::span<const TrackerKind> tracker_kinds();
// REQUIRES: `name` is in the list.
const TrackerKind& tracker_kind(std::string_view name);

}  // namespace fovea
