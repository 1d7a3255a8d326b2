// One launch file as YAML: what it may hold, told with `file:line` where it does not. What its entries
// mean is graph.cpp's.
//
// Thread safety: plain values; YAML nodes share their tree, so one thread at a time.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/language/graph.hpp"

namespace YAML {
class Node;
}

namespace fovea::launch {

// "a list", "a map", "`text`", "empty".
std::string kind_of(const YAML::Node& node);

class LaunchFile {
 public:
  using Keys = std::vector<std::string>;

  // Errors: kNotFound; kInvalidArgument for what is not one YAML document.
  static Result<LaunchFile> read(const std::filesystem::path& path);
  // The same of a text that came from elsewhere; `path` leads its errors.
  static Result<LaunchFile> parse(const std::string& text, const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const YAML::Node& root() const { return *root_; }
  std::string where(const YAML::Node& node) const;  // "file:line"
  tl::unexpected<Error> error(const YAML::Node& node, std::string_view message) const;

  // The entries of the top-level `launch:` list.
  Result<YAML::Node> entries() const;
  Result<> check_list(const YAML::Node& node, std::string_view what) const;
  // `node` is a map whose keys are all in `keys`, each at most once.
  Result<> check_keys(const YAML::Node& node, std::string_view what, const Keys& keys) const;
  Result<YAML::Node> required(const YAML::Node& map, std::string_view what, const char* key) const;

 private:
  std::filesystem::path path_;
  std::shared_ptr<const YAML::Node> root_;
};

Result<ArgumentDeclaration> parse_argument(const LaunchFile& file, const YAML::Node& node);
// The action's name and body of one list entry such as `node: {...}`.
Result<std::pair<std::string, YAML::Node>> action_of(const LaunchFile& file,
                                                     const YAML::Node& entry);
Result<std::vector<ArgumentDeclaration>> declared_arguments(const LaunchFile& file);

}  // namespace fovea::launch
