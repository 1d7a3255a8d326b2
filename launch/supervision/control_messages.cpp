#include "launch/supervision/control_messages.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "launch/language/suggest.hpp"
#include "nodes/base/json.hpp"
#include "nodes/base/text.hpp"

namespace fovea::launch {
namespace {

using Operation = ControlRequest::Operation;

constexpr std::size_t kMaxQuoted = 60;

struct OperationInfo {
  Operation operation;
  const char* name;
  std::vector<std::string> keys;  // beside `version` and `op`; all but `source`, `directory` needed
};

const std::array<OperationInfo, 4>& operations() {
  static const std::array<OperationInfo, 4> all{{
      {Operation::kList, "list", {}},
      {Operation::kAddNode, "add_node", {"entry", "source", "directory"}},
      {Operation::kRemoveNode, "remove_node", {"nodes"}},
      {Operation::kSetParameter, "set_parameter", {"node", "parameter", "value"}},
  }};
  return all;
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

tl::unexpected<Error> wrong(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

Result<std::string> text_of(const Json& object, const std::string& key) {
  if (!object.contains(key)) return wrong(fmt::format("the request lacks `{}`", key));
  const Json& value = object[key];
  if (!value.is_string()) return wrong(fmt::format("`{}` is no text", key));
  std::string text = value.get<std::string>();
  if (text.find('\0') != std::string::npos)
    return wrong(fmt::format("`{}` holds a NUL character", key));
  return text;
}

Result<std::vector<std::string>> names_of(const Json& object, const std::string& key) {
  if (!object.contains(key)) return wrong(fmt::format("the request lacks `{}`", key));
  const Json& list = object[key];
  const bool good =
      list.is_array() && !list.empty() &&
      std::all_of(list.begin(), list.end(), [](const Json& j) { return j.is_string(); });
  if (!good) return wrong(fmt::format("`{}` is no list of names", key));
  return list.get<std::vector<std::string>>();
}

// Text stays; numbers, truth values, and lists and maps of these become the YAML text of a launch
// file.
Result<std::string> value_of(const Json& object) {
  if (!object.contains("value")) return wrong("the request lacks `value`");
  const Json& value = object["value"];
  const auto is_plain = [](const Json& j) { return j.is_primitive() && !j.is_null(); };
  if (value.is_string()) return text_of(object, "value");
  if (is_plain(value)) return dump(value);
  if (value.is_structured() && std::all_of(value.begin(), value.end(), is_plain))
    return dump(value);
  return wrong("`value` must be text, a number, true or false, or a list or map of these");
}

Result<> check_envelope(const Json& object) {
  if (!object.is_object()) return wrong("the request is no JSON object on one line");
  if (!object.contains("version")) return wrong("the request lacks `version`");
  if (object["version"] != kControlVersion) {
    return wrong(fmt::format("version is {}; this launch speaks version {}",
                             object["version"].is_structured()
                                 ? "a list or map"  // which may nest as deep as it likes
                                 : said(dump(object["version"]), kMaxQuoted),
                             kControlVersion));
  }
  return {};
}

Result<const OperationInfo*> operation_of(const Json& object) {
  FOVEA_ASSIGN(const std::string op, text_of(object, "op"));
  std::vector<std::string> names;
  for (const OperationInfo& info : operations()) {
    if (op == info.name) return &info;
    names.emplace_back(info.name);
  }
  return wrong(fmt::format("op is `{}`; it must be one of {}{}", said(op, kMaxQuoted),
                           fmt::join(names, ", "), did_you_mean(op, names)));
}

void read(const Json& object, const char* key, std::vector<std::string>& out) {
  const auto list = object.find(key);
  if (list == object.end() || !list->is_array()) return;
  for (const Json& item : *list) {
    if (item.is_string()) out.push_back(item.get<std::string>());
  }
}

std::optional<Phase> phase_of(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(Phase::kFailed); ++i) {
    if (to_string(static_cast<Phase>(i)) == name) return static_cast<Phase>(i);
  }
  return std::nullopt;
}

}  // namespace

std::string to_json(const ControlRequest& request) {
  Json json{{"version", kControlVersion}};
  for (const OperationInfo& info : operations()) {
    if (info.operation == request.operation) json["op"] = info.name;
  }
  switch (request.operation) {
    case Operation::kList:
      break;
    case Operation::kAddNode:
      json["entry"] = request.entry;
      if (!request.source.empty()) json["source"] = request.source;
      if (!request.directory.empty()) json["directory"] = request.directory;
      break;
    case Operation::kRemoveNode:
      json["nodes"] = request.nodes;
      break;
    case Operation::kSetParameter:
      json["node"] = request.node;
      json["parameter"] = request.parameter;
      json["value"] = request.value;
      break;
  }
  return dump(json);
}

Result<ControlRequest> parse_request(std::string_view line) {
  const Json json = parse_json(line);
  FOVEA_TRY(check_envelope(json));
  FOVEA_ASSIGN(const OperationInfo* info, operation_of(json));
  std::vector<std::string> keys{"version", "op"};
  keys.insert(keys.end(), info->keys.begin(), info->keys.end());
  for (const auto& [key, value] : json.items()) {
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    return wrong(fmt::format("unknown key `{}` in {}{}", said(key, kMaxQuoted), info->name,
                             did_you_mean(key, keys)));
  }
  ControlRequest request;
  request.operation = info->operation;
  switch (request.operation) {
    case Operation::kList:
      break;
    case Operation::kAddNode: {
      FOVEA_ASSIGN(request.entry, text_of(json, "entry"));
      if (json.contains("source")) {
        FOVEA_ASSIGN(request.source, text_of(json, "source"));
      }
      if (json.contains("directory")) {
        FOVEA_ASSIGN(request.directory, text_of(json, "directory"));
      }
      break;
    }
    case Operation::kRemoveNode: {
      FOVEA_ASSIGN(request.nodes, names_of(json, "nodes"));
      break;
    }
    case Operation::kSetParameter: {
      FOVEA_ASSIGN(request.node, text_of(json, "node"));
      FOVEA_ASSIGN(request.parameter, text_of(json, "parameter"));
      FOVEA_ASSIGN(request.value, value_of(json));
      break;
    }
  }
  return request;
}

std::string to_json(const ControlReply& reply) {
  Json json{{"version", kControlVersion}, {"ok", reply.error.empty()}};
  if (!reply.error.empty()) {
    json["error"] = reply.error;
    return dump(json);
  }
  if (reply.pid != 0) {
    json["pid"] = reply.pid;
    json["nodes"] = Json::array();
    for (const NodeReport& node : reply.nodes) {
      json["nodes"].push_back({{"name", node.name},
                               {"phase", std::string(to_string(node.phase))},
                               {"pid", node.pid},
                               {"restarts", node.restarts}});
    }
    return dump(json);
  }
  json["started"] = reply.started;
  json["stopped"] = reply.stopped;
  json["restarted"] = reply.restarted;
  json["warnings"] = reply.warnings;
  return dump(json);
}

Result<ControlReply> parse_reply(std::string_view line) {
  const Json json = parse_json(line);
  const auto broken = [&] {
    return fail(ErrorCode::kCorrupt, fmt::format("`{}` is no reply of a launch", said(line)));
  };
  if (!json.is_object() || json.value("version", Json()) != kControlVersion ||
      !json.value("ok", Json()).is_boolean())
    return broken();
  ControlReply reply;
  if (!json["ok"].get<bool>()) {
    const Json error = json.value("error", Json());
    if (!error.is_string() || error.get<std::string>().empty()) return broken();
    reply.error = error.get<std::string>();
    return reply;
  }
  read(json, "started", reply.started);
  read(json, "stopped", reply.stopped);
  read(json, "restarted", reply.restarted);
  read(json, "warnings", reply.warnings);
  const Json pid = json.value("pid", Json(0));
  if (!pid.is_number_integer()) return broken();
  reply.pid = pid.get<int>();
  for (const Json& node : json.value("nodes", Json::array())) {
    if (!node.is_object() || !node.value("name", Json()).is_string() ||
        !node.value("phase", Json()).is_string() ||
        !node.value("pid", Json()).is_number_integer() ||
        !node.value("restarts", Json()).is_number_unsigned())
      return broken();
    const auto known = phase_of(node["phase"].get<std::string>());
    if (!known) return broken();
    reply.nodes.push_back({node["name"].get<std::string>(), *known, node["pid"].get<int>(),
                           node["restarts"].get<std::uint64_t>()});
  }
  return reply;
}

}  // namespace fovea::launch
