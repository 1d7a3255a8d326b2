#include "launch/language/graph.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include "launch/install_paths.hpp"
#include "launch/language/graph_dependencies.hpp"
#include "launch/language/launch_file.hpp"
#include "launch/language/substitution.hpp"
#include "launch/language/values.hpp"
#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"
#include "nodes/runtime/domain.hpp"

namespace fovea::launch {
namespace {

namespace fs = std::filesystem;
using Keys = LaunchFile::Keys;

constexpr int kMaxDepth = 32;
// Aliases and includes multiply; a launch file of people stays far below.
constexpr int kMaxEntries = 10'000;

const Keys kNodeKeys{"exec",
                     "name",
                     "param",
                     "env",
                     "if",
                     "unless",
                     "depends_on",
                     "respawn",
                     "respawn_delay",
                     "respawn_max_retries",
                     "start_timeout",
                     "heartbeat_timeout",
                     "sigterm_timeout",
                     "sigkill_timeout",
                     "shm_size"};

class Loader {
 public:
  explicit Loader(const LoadOptions& options) : options_(options) {}

  Result<Graph> load(const fs::path& path) {
    std::map<std::string, GivenArgument> given;
    for (const auto& [name, value] : options_.arguments) given[name] = {value, ""};
    FOVEA_TRY(load_file(path, given, ""));
    FOVEA_TRY(resolve_dependencies(graph_, dependencies_, disabled_));
    if (graph_.nodes.empty()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}:1: no node to start", path.string()));
    }
    return std::move(graph_);
  }

  Result<Graph> add(const Graph& running, const std::string& text, const EntrySource& source) {
    graph_ = running;
    FOVEA_ASSIGN(const LaunchFile file, LaunchFile::parse(text, source.name));
    YAML::Node entry = file.root();
    if (entry.IsSequence()) {
      if (entry.size() != 1) {
        return file.error(
            entry, fmt::format("the list holds {} entries; it must hold one `node`", entry.size()));
      }
      entry.reset(YAML::Node(entry[0]));
    }
    FOVEA_ASSIGN(const auto action, action_of(file, entry));
    if (action.first != "node") {
      return file.error(entry,
                        fmt::format("the entry is a `{}`; it must be a `node`", action.first));
    }
    Scope scope{&file, {}, true, 0};
    scope.context.variables = running.variables;
    scope.context.dirname = fs::absolute(source.directory).lexically_normal().string();
    scope.context.share = options_.share_directory.string();
    FOVEA_TRY(run_node(action.second, scope));
    if (graph_.nodes.size() == running.nodes.size())
      return file.error(entry, "the node is switched off by its own `if` or `unless`");
    FOVEA_TRY(resolve_dependencies(graph_, dependencies_, {}));
    return std::move(graph_);
  }

 private:
  // What an entry is evaluated in. `enabled` is false inside an `if` that did not hold: there, keys
  // and types are still checked, but values may refer to what is not set.
  struct Scope {
    const LaunchFile* file;
    SubstitutionContext context;
    bool enabled = true;
    int depth = 0;  // of groups; an alias may make YAML recursive
  };

  Result<> load_file(const fs::path& path, const std::map<std::string, GivenArgument>& given,
                     const std::string& included_from) {
    std::error_code ignored;
    const fs::path canonical = fs::weakly_canonical(path, ignored);
    if (std::find(include_stack_.begin(), include_stack_.end(), canonical) !=
        include_stack_.end()) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("{}: include of {} goes in a circle",
                                                           included_from, said(path.string())));
    }
    if (include_stack_.size() >= kMaxDepth) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{}: includes are nested more than {} deep", included_from, kMaxDepth));
    }
    auto read = LaunchFile::read(path);
    if (!read) {
      return fail(
          included_from.empty() || read.error().code != ErrorCode::kNotFound
              ? read.error()
              : Error{ErrorCode::kInvalidArgument, included_from + ": " + read.error().message});
    }
    const LaunchFile file = std::move(*read);
    FOVEA_ASSIGN(const auto declared, declared_arguments(file));
    if (include_stack_.empty()) graph_.arguments = declared;
    FOVEA_TRY(check_given(path, declared, given));

    include_stack_.push_back(canonical);
    Scope scope{&file, {}, true, 0};
    scope.context.dirname = fs::absolute(path).lexically_normal().parent_path().string();
    scope.context.share = options_.share_directory.string();
    FOVEA_ASSIGN(const YAML::Node entries, file.entries());
    FOVEA_TRY(run(entries, scope, &given));
    include_stack_.pop_back();
    if (include_stack_.empty()) graph_.variables = std::move(scope.context.variables);
    return {};
  }

  // `given` is null below the top level of a file, where `arg` is not allowed.
  Result<> run(const YAML::Node& entries, Scope& scope,
               const std::map<std::string, GivenArgument>* given) {
    for (const YAML::Node& entry : entries) {
      if (++entries_ > kMaxEntries) {
        return scope.file->error(entry,
                                 fmt::format("the launch has more than {} entries", kMaxEntries));
      }
      FOVEA_ASSIGN(const auto action, action_of(*scope.file, entry));
      const auto& [kind, body] = action;
      if (kind == "arg") FOVEA_TRY(run_argument(body, scope, given));
      if (kind == "let") FOVEA_TRY(run_let(body, scope));
      if (kind == "include") FOVEA_TRY(run_include(body, scope));
      if (kind == "group") FOVEA_TRY(run_group(body, scope));
      if (kind == "for") FOVEA_TRY(run_for(body, scope));
      if (kind == "node") FOVEA_TRY(run_node(body, scope));
    }
    return {};
  }

  Result<> run_argument(const YAML::Node& body, Scope& scope,
                        const std::map<std::string, GivenArgument>* given) {
    if (given == nullptr)
      return scope.file->error(body, "arg must stand at the top level of `launch`");
    FOVEA_ASSIGN(const ArgumentDeclaration argument, parse_argument(*scope.file, body));
    const auto value = given->find(argument.name);
    if (value != given->end()) {
      scope.context.variables[argument.name] = value->second.value;
    } else if (argument.has_default) {
      FOVEA_ASSIGN(scope.context.variables[argument.name],
                   text(scope, body["default"], "arg.default"));
    } else {
      return scope.file->error(
          body, fmt::format("argument `{0}` has no value; give {0}:=VALUE", said(argument.name)));
    }
    return {};
  }

  Result<> run_let(const YAML::Node& body, Scope& scope) {
    FOVEA_TRY(scope.file->check_keys(body, "let", {"name", "value", "if", "unless"}));
    FOVEA_ASSIGN(const bool enabled, condition(body, scope, "let"));
    FOVEA_ASSIGN(const YAML::Node name_node, scope.file->required(body, "let", "name"));
    FOVEA_ASSIGN(const YAML::Node value_node, scope.file->required(body, "let", "value"));
    FOVEA_ASSIGN(const std::string name, text(scope, name_node, "let.name"));
    if (!enabled) return {};
    FOVEA_ASSIGN(scope.context.variables[name], text(scope, value_node, "let.value"));
    return {};
  }

  Result<> run_group(const YAML::Node& body, Scope& scope) {
    YAML::Node children = body;
    bool enabled = scope.enabled;
    bool scoped = true;
    if (body.IsMap()) {
      FOVEA_TRY(scope.file->check_keys(body, "group", {"if", "unless", "scoped", "children"}));
      FOVEA_ASSIGN(enabled, condition(body, scope, "group"));
      FOVEA_TRY(boolean(scope, body, "group", "scoped", scoped));
      FOVEA_ASSIGN(const YAML::Node list, scope.file->required(body, "group", "children"));
      children.reset(list);
    }
    FOVEA_TRY(scope.file->check_list(children, body.IsMap() ? "group.children" : "group"));
    Scope inner = scope;
    inner.enabled = enabled;
    if (++inner.depth > kMaxDepth) {
      return scope.file->error(body, fmt::format("groups are nested more than {} deep", kMaxDepth));
    }
    FOVEA_TRY(run(children, inner, nullptr));
    if (!scoped && enabled) scope.context.variables = inner.context.variables;
    return {};
  }

  // The children once for each item, with the item's keys as variables.
  Result<> run_for(const YAML::Node& body, const Scope& scope) {
    const LaunchFile& file = *scope.file;
    FOVEA_TRY(file.check_keys(body, "for", {"each", "if", "unless", "children"}));
    Scope outer = scope;
    FOVEA_ASSIGN(outer.enabled, condition(body, scope, "for"));
    if (++outer.depth > kMaxDepth) {
      return file.error(body, fmt::format("groups are nested more than {} deep", kMaxDepth));
    }
    FOVEA_ASSIGN(const YAML::Node items, file.required(body, "for", "each"));
    FOVEA_TRY(file.check_list(items, "for.each"));
    FOVEA_ASSIGN(const YAML::Node children, file.required(body, "for", "children"));
    FOVEA_TRY(file.check_list(children, "for.children"));
    Keys keys;  // of the first item; the others must have them, too
    for (const YAML::Node& item : items) {
      if (!item.IsMap() || item.size() == 0) {
        return file.error(item, fmt::format("an item of for.each is {}; it must be a map of "
                                            "variables, such as {{name: cam0}}",
                                            item.IsMap() ? "empty" : kind_of(item)));
      }
      if (keys.empty()) {
        for (const auto& entry : item) keys.push_back(entry.first.Scalar());
      }
      FOVEA_TRY(file.check_keys(item, "an item of for.each", keys));
      Scope inner = outer;
      for (const std::string& key : keys) {
        FOVEA_ASSIGN(const YAML::Node value,
                     file.required(item, "an item of for.each", key.c_str()));
        FOVEA_ASSIGN(inner.context.variables[key],
                     text(outer, value, fmt::format("for.each.{}", said(key))));
      }
      FOVEA_TRY(run(children, inner, nullptr));
    }
    return {};
  }

  Result<> run_include(const YAML::Node& body, Scope& scope) {
    const LaunchFile& file = *scope.file;
    FOVEA_TRY(file.check_keys(body, "include", {"file", "arg", "if", "unless"}));
    FOVEA_ASSIGN(const bool enabled, condition(body, scope, "include"));
    FOVEA_ASSIGN(const YAML::Node name, file.required(body, "include", "file"));
    Scope inner = scope;
    inner.enabled = enabled;
    FOVEA_ASSIGN(const std::string target, text(inner, name, "include.file"));
    std::map<std::string, GivenArgument> given;
    if (const YAML::Node list = body["arg"]) {
      FOVEA_ASSIGN(const auto pairs, name_values(inner, list, "include.arg"));
      for (std::size_t i = 0; i < pairs.size(); ++i) {
        if (!given.emplace(pairs[i].first, GivenArgument{pairs[i].second, file.where(list[i])})
                 .second) {
          return file.error(list[i],
                            fmt::format("include.arg gives `{}` twice", said(pairs[i].first)));
        }
      }
    }
    if (!enabled) return {};
    return load_file(fs::path(scope.context.dirname) / target, given, file.where(name));
  }

  Result<> run_node(const YAML::Node& body, Scope& outer) {
    const LaunchFile& file = *outer.file;
    FOVEA_TRY(file.check_keys(body, "node", kNodeKeys));
    Scope scope = outer;
    FOVEA_ASSIGN(scope.enabled, condition(body, outer, "node"));
    NodeAction node;
    node.where = file.where(body);
    FOVEA_ASSIGN(const YAML::Node exec, file.required(body, "node", "exec"));
    FOVEA_ASSIGN(const std::string executable, text(scope, exec, "node.exec"));
    const YAML::Node name = body["name"];
    if (name) {
      FOVEA_ASSIGN(node.name, text(scope, name, "node.name"));
    } else {
      node.name = fs::path(executable).filename().string();
      if (node.name.starts_with("fovea-")) node.name.erase(0, 6);
    }
    if (scope.enabled) {
      if (auto valid = check_name("node.name", node.name); !valid) {
        return file.error(name ? name : exec, valid.error().message);
      }
      if (const NodeAction* other = graph_.find(node.name)) {
        return file.error(name ? name : exec, fmt::format("node name `{}` is already used at {}",
                                                          node.name, other->where));
      }
      auto found = find_executable(executable, options_.executable_directory);
      if (!found) return file.error(exec, "node.exec is " + found.error().message);
      node.executable = std::move(*found);
    }
    FOVEA_TRY(parse_parameters(scope, body["param"], node));
    if (const YAML::Node list = body["env"]) {
      FOVEA_ASSIGN(node.environment, name_values(scope, list, "node.env"));
      for (std::size_t i = 0; i < node.environment.size(); ++i) {
        const std::string& variable = node.environment[i].first;
        if (scope.enabled && (variable.empty() || variable.find('=') != std::string::npos)) {
          return file.error(list[i]["name"],
                            fmt::format("node.env.name is `{}`; it must be the name of an "
                                        "environment variable, without `=`",
                                        said(variable)));
        }
      }
    }
    FOVEA_TRY(parse_dependencies(scope, body["depends_on"], node));
    FOVEA_TRY(parse_policy(scope, body, node));
    if (scope.enabled) {
      graph_.nodes.push_back(std::move(node));
    } else {
      disabled_.insert(node.name);
    }
    return {};
  }

  Result<> parse_parameters(const Scope& scope, const YAML::Node& list, NodeAction& node) const {
    if (!list) return {};
    const LaunchFile& file = *scope.file;
    FOVEA_TRY(file.check_list(list, "node.param"));
    for (const YAML::Node& entry : list) {
      FOVEA_TRY(file.check_keys(entry, "node.param", {"name", "value", "from"}));
      if (const YAML::Node from = entry["from"]) {
        if (entry.size() != 1)
          return file.error(entry, "node.param holds `from` and more; use two entries");
        FOVEA_ASSIGN(const std::string target, text(scope, from, "node.param.from"));
        const fs::path path = (fs::path(scope.context.dirname) / target).lexically_normal();
        if (!scope.enabled) continue;
        std::error_code ignored;
        if (!fs::exists(path, ignored)) {
          return file.error(
              from, fmt::format("node.param.from is {}; no such file", said(path.string())));
        }
        if (auto readable = check_readable(path); !readable)
          return file.error(from, fmt::format("node.param.from: {}", readable.error().message));
        node.parameter_files.push_back(path);
        continue;
      }
      FOVEA_ASSIGN(const YAML::Node name_node, file.required(entry, "node.param", "name"));
      FOVEA_ASSIGN(const YAML::Node value_node, file.required(entry, "node.param", "value"));
      FOVEA_ASSIGN(const std::string name, text(scope, name_node, "node.param.name"));
      for (const NameValue& other : node.parameters) {
        if (other.first == name)
          return file.error(entry, fmt::format("node.param gives `{}` twice", said(name)));
      }
      FOVEA_ASSIGN(const std::string value, parameter_text(scope, value_node));
      node.parameters.emplace_back(name, value);
      node.parameter_places[name] = file.where(value_node);
    }
    return {};
  }

  // A list or map becomes YAML flow text, which the node's own parameters read back.
  Result<std::string> parameter_text(const Scope& scope, const YAML::Node& value) const {
    if (value.IsScalar()) return text(scope, value, "node.param.value");
    if (!value.IsSequence() && !value.IsMap()) return text(scope, value, "node.param.value");
    YAML::Emitter out;
    out.SetMapFormat(YAML::Flow);
    out.SetSeqFormat(YAML::Flow);
    out << (value.IsMap() ? YAML::BeginMap : YAML::BeginSeq);
    for (const auto& entry : value) {
      // Aliases make a long list of a short text.
      if (out.size() > kMaxValueBytes)
        return scope.file->error(
            value, fmt::format("node.param.value is longer than {} KiB", kMaxValueBytes / 1024));
      if (value.IsMap()) {
        FOVEA_ASSIGN(const std::string key, text(scope, entry.first, "a key of node.param.value"));
        FOVEA_ASSIGN(const std::string item,
                     text(scope, entry.second, "an item of node.param.value"));
        out << YAML::Key << key << YAML::Value << item;
      } else {
        FOVEA_ASSIGN(const std::string item, text(scope, entry, "an item of node.param.value"));
        out << item;
      }
    }
    out << (value.IsMap() ? YAML::EndMap : YAML::EndSeq);
    return std::string(out.c_str());
  }

  Result<> parse_dependencies(const Scope& scope, const YAML::Node& list, NodeAction& node) {
    if (!list) return {};
    FOVEA_TRY(scope.file->check_list(list, "node.depends_on"));
    for (const YAML::Node& entry : list) {
      FOVEA_ASSIGN(const std::string name, text(scope, entry, "an item of node.depends_on"));
      node.depends_on.push_back(name);
      if (scope.enabled) dependencies_.push_back({node.name, name, scope.file->where(entry)});
    }
    return {};
  }

  Result<> parse_policy(const Scope& scope, const YAML::Node& body, NodeAction& node) const {
    FOVEA_TRY(boolean(scope, body, "node", "respawn", node.respawn));
    FOVEA_TRY(seconds(scope, body, "respawn_delay", 0.0, node.respawn_delay));
    FOVEA_TRY(seconds(scope, body, "start_timeout", 0.1, node.start_timeout));
    FOVEA_TRY(seconds(scope, body, "heartbeat_timeout", 0.1, node.heartbeat_timeout));
    FOVEA_TRY(seconds(scope, body, "sigterm_timeout", 0.0, node.sigterm_timeout));
    FOVEA_TRY(seconds(scope, body, "sigkill_timeout", 0.0, node.sigkill_timeout));
    if (const YAML::Node limit = body["respawn_max_retries"]) {
      FOVEA_ASSIGN(const std::string given, text(scope, limit, "node.respawn_max_retries"));
      const auto value = to_number<std::int64_t>(given);
      if (scope.enabled && (!value || *value < -1)) {
        return scope.file->error(
            limit, fmt::format("node.respawn_max_retries is `{}`; it must be -1 (no limit) or more",
                               said(given)));
      }
      node.respawn_max_retries = value.value_or(0);
    }
    if (const YAML::Node size = body["shm_size"]) {
      FOVEA_ASSIGN(const std::string given, text(scope, size, "node.shm_size"));
      const auto value = to_bytes(given);
      if (scope.enabled && !value) {
        return scope.file->error(
            size,
            fmt::format("node.shm_size is `{}`; it must be a size such as 32MiB", said(given)));
      }
      node.shm_bytes = value.value_or(0);
    }
    return {};
  }

  // --- values
  // -------------------------------------------------------------------------------------------

  Result<std::string> text(const Scope& scope, const YAML::Node& node,
                           std::string_view what) const {
    if (!node.IsScalar()) {
      return scope.file->error(node, fmt::format("{} is {}; it must be text", what, kind_of(node)));
    }
    auto expanded = expand(node.Scalar(), scope.context);
    if (expanded && expanded->find('\0') != std::string::npos)
      return scope.file->error(node, fmt::format("{} holds a NUL character", what));
    if (expanded) return std::move(*expanded);
    if (!scope.enabled) return std::string();
    return scope.file->error(node, fmt::format("{}: {}", what, expanded.error().message));
  }

  Result<> boolean(const Scope& scope, const YAML::Node& map, std::string_view what,
                   const char* key, bool& out) const {
    const YAML::Node node = map[key];
    if (!node) return {};
    FOVEA_ASSIGN(const std::string given, text(scope, node, fmt::format("{}.{}", what, key)));
    const auto value = to_bool(given);
    if (!value && scope.enabled) {
      return scope.file->error(
          node, fmt::format("{}.{} is `{}`; it must be true or false", what, key, said(given)));
    }
    out = value.value_or(false);
    return {};
  }

  Result<> seconds(const Scope& scope, const YAML::Node& map, const char* key, double least,
                   Seconds& out) const {
    const YAML::Node node = map[key];
    if (!node) return {};
    FOVEA_ASSIGN(const std::string given, text(scope, node, fmt::format("node.{}", key)));
    const auto value = to_number<double>(given);
    if (scope.enabled && (!value || !(*value >= least) || !(*value <= 86400))) {
      return scope.file->error(node, fmt::format("node.{} is `{}`; it must be {}..86400 seconds",
                                                 key, said(given), least));
    }
    out = Seconds(value.value_or(0));
    return {};
  }

  Result<bool> condition(const YAML::Node& map, const Scope& scope, std::string_view what) const {
    if (map["if"] && map["unless"]) {
      return scope.file->error(map, fmt::format("{} has both `if` and `unless`; use one", what));
    }
    bool wanted = true;
    bool unwanted = false;
    FOVEA_TRY(boolean(scope, map, what, "if", wanted));
    FOVEA_TRY(boolean(scope, map, what, "unless", unwanted));
    return scope.enabled && wanted && !unwanted;
  }

  Result<std::vector<NameValue>> name_values(const Scope& scope, const YAML::Node& list,
                                             std::string_view what) const {
    FOVEA_TRY(scope.file->check_list(list, what));
    std::vector<NameValue> pairs;
    for (const YAML::Node& entry : list) {
      FOVEA_TRY(scope.file->check_keys(entry, what, {"name", "value"}));
      FOVEA_ASSIGN(const YAML::Node name_node, scope.file->required(entry, what, "name"));
      FOVEA_ASSIGN(const YAML::Node value_node, scope.file->required(entry, what, "value"));
      FOVEA_ASSIGN(std::string name, text(scope, name_node, fmt::format("{}.name", what)));
      FOVEA_ASSIGN(std::string value, text(scope, value_node, fmt::format("{}.value", what)));
      pairs.emplace_back(std::move(name), std::move(value));
    }
    return pairs;
  }

  const LoadOptions& options_;
  Graph graph_;
  std::set<std::string> disabled_;  // names of nodes whose condition did not hold
  std::vector<Dependency> dependencies_;
  std::vector<fs::path> include_stack_;
  int entries_ = 0;
};

}  // namespace

Result<Graph> load_graph(const fs::path& file, const LoadOptions& options) {
  return Loader(options).load(file);
}

Result<Graph> add_entry(const Graph& running, const std::string& text, const EntrySource& source,
                        const LoadOptions& options) {
  return Loader(options).add(running, text, source);
}

Result<std::vector<ArgumentDeclaration>> load_arguments(const fs::path& file) {
  FOVEA_ASSIGN(const LaunchFile read, LaunchFile::read(file));
  return declared_arguments(read);
}

}  // namespace fovea::launch
