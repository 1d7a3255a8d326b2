// "; did you mean `x`?" behind an error, or nothing when no candidate is near.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nodes/runtime/process/parameters.hpp"

namespace fovea::launch {

inline std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates) {
  const std::string best = nearest(name, candidates);
  return best.empty() ? std::string() : "; did you mean `" + best + "`?";
}

}  // namespace fovea::launch
