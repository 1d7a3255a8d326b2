#include "nodes/base/refusals.hpp"

#include <algorithm>

namespace fovea {

void Refusals::add(std::string_view row, std::string reason) {
  const auto known = std::find_if(reasons_.begin(), reasons_.end(),
                                  [&](const Reason& r) { return r.text == reason; });
  if (known == reasons_.end()) {
    reasons_.push_back({std::string(row), std::move(reason)});
  } else {
    known->rows.append(", ").append(row);
  }
}

std::string Refusals::text() const {
  if (reasons_.size() == 1) return reasons_.front().text;
  std::string text;
  for (const Reason& reason : reasons_) {
    text.append(text.empty() ? "" : "; ").append(reason.rows).append(": ").append(reason.text);
  }
  return text;
}

}  // namespace fovea
