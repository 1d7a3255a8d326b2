#include "launch/language/launch_file.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include "launch/language/suggest.hpp"
#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"
#include "nodes/runtime/process/yaml_text.hpp"

namespace fovea::launch {

namespace {

namespace fs = std::filesystem;

// Of a value where it has the wrong kind: a file that is no launch file is not to be printed.
constexpr std::size_t kMaxQuoted = 60;

}  // namespace

std::string kind_of(const YAML::Node& node) {
  if (node.IsSequence()) return "a list";
  if (node.IsMap()) return "a map";
  if (node.IsScalar()) return fmt::format("`{}`", said(node.Scalar(), kMaxQuoted));
  return "empty";
}

Result<LaunchFile> LaunchFile::read(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored) || fs::is_directory(path, ignored)) {
    return fail(ErrorCode::kNotFound, fmt::format("{}: no such launch file", said(path.string())));
  }
  FOVEA_ASSIGN(const std::string text, read_text_file(path));
  return parse(text, path);
}

Result<LaunchFile> LaunchFile::parse(const std::string& text, const fs::path& path) {
  LaunchFile file;
  file.path_ = path;
  try {
    const std::vector<int> documents = yaml_document_lines(text);
    if (documents.size() != 1) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}:1: a launch file holds one YAML document; this one holds {}",
                              path.string(), documents.size()));
    }
    file.root_ = std::make_shared<const YAML::Node>(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return fail(ErrorCode::kInvalidArgument,
                yaml_error(text, path.string(), error.mark.line + 1, error.msg));
  }
  return file;
}

std::string LaunchFile::where(const YAML::Node& node) const {
  return fmt::format("{}:{}", said(path_.string()), std::max(node.Mark().line, 0) + 1);
}

tl::unexpected<Error> LaunchFile::error(const YAML::Node& node, std::string_view message) const {
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", where(node), message));
}

Result<YAML::Node> LaunchFile::entries() const {
  FOVEA_TRY(check_keys(*root_, "a launch file", {"launch"}));
  FOVEA_ASSIGN(const YAML::Node list, required(*root_, "a launch file", "launch"));
  FOVEA_TRY(check_list(list, "launch"));
  return list;
}

Result<> LaunchFile::check_list(const YAML::Node& node, std::string_view what) const {
  if (node.IsSequence()) return {};
  return error(node, fmt::format("{} is {}; it must be a list", what, kind_of(node)));
}

Result<> LaunchFile::check_keys(const YAML::Node& node, std::string_view what,
                                const Keys& keys) const {
  if (!node.IsMap()) {
    return error(node, fmt::format("{} is {}; it must be a map with the keys {}", what,
                                   kind_of(node), fmt::join(keys, ", ")));
  }
  std::set<std::string> seen;
  for (const auto& entry : node) {
    if (!entry.first.IsScalar())
      return error(entry.first, fmt::format("a key of {} is no text", what));
    const std::string& key = entry.first.Scalar();
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      return error(entry.first, fmt::format("unknown key `{}` in {}{}", said(key, kMaxQuoted), what,
                                            did_you_mean(key, keys)));
    }
    if (!seen.insert(key).second) {
      return error(entry.first, fmt::format("key `{}` occurs twice in {}", key, what));
    }
  }
  return {};
}

Result<YAML::Node> LaunchFile::required(const YAML::Node& map, std::string_view what,
                                        const char* key) const {
  if (const YAML::Node value = map[key]) return value;
  return error(map, fmt::format("{} lacks the key `{}`", what, key));
}

Result<ArgumentDeclaration> parse_argument(const LaunchFile& file, const YAML::Node& node) {
  FOVEA_TRY(file.check_keys(node, "arg", {"name", "default", "description"}));
  FOVEA_ASSIGN(const YAML::Node name, file.required(node, "arg", "name"));
  for (const auto& entry : node) {
    if (!entry.second.IsScalar()) {
      return file.error(entry.second, fmt::format("arg.{} is {}; it must be text",
                                                  entry.first.Scalar(), kind_of(entry.second)));
    }
  }
  ArgumentDeclaration argument;
  argument.name = name.Scalar();
  if (const YAML::Node text = node["description"]) argument.description = text.Scalar();
  if (const YAML::Node value = node["default"]) {
    argument.has_default = true;
    argument.default_value = value.Scalar();
  }
  return argument;
}

Result<std::pair<std::string, YAML::Node>> action_of(const LaunchFile& file,
                                                     const YAML::Node& entry) {
  static const LaunchFile::Keys kActions{"arg", "let", "include", "group", "for", "node"};
  FOVEA_TRY(file.check_keys(entry, "a launch entry", kActions));
  if (entry.size() != 1) {
    return file.error(entry, fmt::format("a launch entry holds {} actions; it must hold one of {}",
                                         entry.size(), fmt::join(kActions, ", ")));
  }
  const auto first = *entry.begin();
  return std::pair(first.first.Scalar(), YAML::Node(first.second));
}

Result<std::vector<ArgumentDeclaration>> declared_arguments(const LaunchFile& file) {
  FOVEA_ASSIGN(const YAML::Node entries, file.entries());
  std::vector<ArgumentDeclaration> arguments;
  for (const YAML::Node& entry : entries) {
    FOVEA_ASSIGN(const auto action, action_of(file, entry));
    if (action.first != "arg") continue;
    FOVEA_ASSIGN(ArgumentDeclaration argument, parse_argument(file, action.second));
    for (const ArgumentDeclaration& other : arguments) {
      if (other.name == argument.name) {
        return file.error(action.second,
                          fmt::format("arg `{}` is declared twice", said(argument.name)));
      }
    }
    arguments.push_back(std::move(argument));
  }
  return arguments;
}

}  // namespace fovea::launch
