#include "nodes/detector/class_names.hpp"

#include <unordered_set>
#include <utility>

#include <fmt/core.h>

#include "msgs/class_name.hpp"
#include "nodes/base/text.hpp"

namespace fovea {
namespace {

constexpr std::size_t kMost = msgs::ClassName::kMaxLength;

// `name` followed by `mark`, together no longer than a message takes.
std::string marked(const std::string& name, const std::string& mark) {
  return std::string(utf8_prefix(name, kMost - mark.size())) + mark;
}

}  // namespace

std::vector<std::string> distinct_class_names(const std::vector<std::string>& names,
                                              std::size_t classes) {
  std::vector<std::string> distinct;
  std::unordered_set<std::string> taken;
  for (std::size_t i = 0; i < classes; ++i) {
    // A NUL would end the name in a message.
    std::string name = i < names.size() ? names[i].substr(0, names[i].find('\0')) : "";
    if (name.empty()) name = fmt::format("class_{}", i);
    if (name.size() > kMost) name = marked(name, "...");
    std::string shown = name;
    for (int attempt = 0; !taken.insert(shown).second; ++attempt) {
      shown =
          marked(name, attempt == 0 ? fmt::format(" #{}", i) : fmt::format(" #{}.{}", i, attempt));
    }
    distinct.push_back(std::move(shown));
  }
  return distinct;
}

}  // namespace fovea
